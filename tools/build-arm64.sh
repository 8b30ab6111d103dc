#!/usr/bin/env bash
# Builds libswiftdpo.so for arm64 Linux on an x86-64 machine: Swift's Embedded target makes the objects, with NEON, and
# Debian's cross compiler (gcc-aarch64-linux-gnu) compiles the C and links. Usage: tools/build-arm64.sh [folder]
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-.build-arm64}
cross=aarch64-linux-gnu
command -v $cross-gcc >/dev/null || { echo "missing $cross-gcc: install gcc-aarch64-linux-gnu" >&2; exit 1; }
rm -rf "$out"
mkdir -p "$out"

# One module of the package, in the order of Package.swift's dependencies.
module() {
  local name=$1 sources
  shift
  mapfile -t sources < <(find "Sources/$name" -name '*.swift' | sort)
  swiftc -target aarch64-none-none-elf -enable-experimental-feature Embedded -swift-version 6 -wmo -parse-as-library \
    -Xfrontend -function-sections -file-prefix-map "$PWD=." -I "$out" -I include \
    -I Sources/CPlatform/include -I Sources/CKernelChoice/include \
    -Xcc -fPIC -Xcc -isystem -Xcc "/usr/$cross/include" -module-name "$name" "$@" \
    -emit-module -emit-module-path "$out/$name.swiftmodule" -c "${sources[@]}" -o "$out/$name.o"
}
module Elementary -O
module Preference -O
module Kernels -Ounchecked -D KERNELS_BASELINE
module SwiftDPO -O

for source in Sources/C*/*.c; do
  $cross-gcc -std=gnu11 -O2 -fPIC -ISources/CPlatform/include -ISources/CKernelChoice/include -c "$source" -o "$out/$(basename "$source" .c).o"
done
$cross-gcc -shared -o "$out/libswiftdpo.so.0" "$out"/*.o -Wl,-soname=libswiftdpo.so.0 \
  -Wl,--version-script=Sources/SwiftDPO/exports.map -Wl,--gc-sections -Wl,-z,defs -Wl,-z,nodelete -lm -lpthread
ln -sf libswiftdpo.so.0 "$out/libswiftdpo.so"
echo "$out/libswiftdpo.so"
