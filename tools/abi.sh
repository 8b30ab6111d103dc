#!/usr/bin/env bash
# The binary interface of the header, as libabigail sees it:
#   abi.sh dump HEADER FILE       writes it: functions with their parameters, layouts of structs, values of enumerators
#   abi.sh check HEADER [GROWTH]  fails if programs that were compiled against Tests/ABI/libswiftdpo.abi would break;
#                                 GROWTH names the structs that may have grown: Tests/ABI/growth.suppr
# Called by `make abi` and Tests/ABI.
#
# The library itself has no debug information that knows C. But each of its functions is checked against the header by the
# Swift compiler, and its symbols by Tests/Library: so a library whose functions do nothing has the same interface, if a C
# compiler makes it of the same header.
set -euo pipefail
root=$(dirname "$0")/..
released=$root/Tests/ABI/libswiftdpo.abi
exports=$root/Sources/SwiftDPO/exports.map
command -v abidw > /dev/null || { echo "missing abidw: install abigail-tools" >&2; exit 1; }

dump() {
  local header=$1 file=$2 work
  work=$(mktemp -d)
  # Every declaration of a function becomes a definition.
  cc -E -P -include stddef.h -include stdint.h "$header" | tr '\n' ' ' |
    sed -E 's/(\bswiftdpo_[a-z0-9_]+ ?\([^;{}]*\)) ?;/\1 { __builtin_trap(); }\n/g' > "$work/functions.c"
  sed -n 's/^#define SWIFTDPO_ABI_VERSION \(.*\)/libswiftdpo.so.\1/p' "$header" > "$work/soname"
  # All of them are exported, under the version that the library has.
  sed -n 's/^\(libswiftdpo_[0-9.]*\) {/\1 { global: swiftdpo_*; local: *; };/p' "$exports" > "$work/exports.map"
  (cd "$work" && cc -w -g -shared -fPIC functions.c -Wl,--version-script=exports.map -Wl,-soname="$(cat soname)" \
    -o libswiftdpo.so)
  abidw --no-show-locs --no-corpus-path --no-comp-dir-path --no-elf-needed --type-id-style hash \
    --out-file "$file" "$work/libswiftdpo.so"
  rm -rf "$work"
}

case ${1:-} in
  dump) dump "$2" "$3" ;;
  check)
    current=$(mktemp)
    trap 'rm -f "$current"' EXIT
    dump "$2" "$current"
    # New functions and enumerators break nobody, nor do new fields at the end of the structs of growth.suppr.
    abidiff --leaf-changes-only --no-added-syms --suppressions "${3:-$root/Tests/ABI/growth.suppr}" "$released" "$current" || {
      echo "Programs that were compiled against Tests/ABI/libswiftdpo.abi would break. Has a struct that begins with its" \
        "size grown at its end? Name it in Tests/ABI/growth.suppr. Is a break meant? Raise SWIFTDPO_ABI_VERSION and the" \
        "SONAME. Has this ABI not been released yet? \`make abi\` writes it anew." >&2
      exit 1
    }
    ;;
  *) sed -n 's/^# \{0,1\}//; 2,5p' "$0" >&2 && exit 2 ;;
esac
