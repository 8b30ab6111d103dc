#!/usr/bin/env bash
# Makes libswiftdpo.a of the objects that the shared library was linked from: static-library.sh FOLDER ARCHIVE, FOLDER
# being that of the built library. Called by `make library`.
#
# The archive has one object whose only global symbols are the functions of the header. Everything else becomes local:
# the objects define swift_retain and other functions of Swift's run-time, small ones for Embedded Swift, that must not
# replace those of a program that has a run-time of its own.
set -euo pipefail
folder=$1 archive=$2
root=$(dirname "$0")/..
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

sed -n 's/^ *\(swiftdpo_[a-z0-9_]*\);$/\1/p' "$root/Sources/SwiftDPO/exports.map" > "$work/exports"
mapfile -t roots < <(sed 's/^/--undefined=/' "$work/exports")

# In the order of the shared library, for the same reason: see Package.swift. Groups of sections are dissolved, since a
# linker would lay groups of one name together, those of a program's own Embedded Swift among them.
ld -r --gc-sections --force-group-allocation --strip-debug "${roots[@]}" \
  @"$folder/swiftdpo.product/Objects.LinkFileList" -o "$work/all.o"
# A program without shared libraries finds libc's functions by their plain names (see old_glibc.h).
nm --format=posix --undefined-only "$work/all.o" | sed -n 's/^\(\([^@ ]*\)@[^ ]*\) .*/\1 \2/p' > "$work/versioned"
# What the compiler notes for a linker that would know Swift is of no use in C.
objcopy --keep-global-symbols="$work/exports" --redefine-syms="$work/versioned" --remove-section=.swift1_autolink_entries --remove-section=.swift_modhash \
  "$work/all.o" "$work/swiftdpo.o"
strip --strip-unneeded "$work/swiftdpo.o"

ar rcD "$work/libswiftdpo.a" "$work/swiftdpo.o"
mv "$work/libswiftdpo.a" "$archive"
