#!/usr/bin/env bash
# Installs the built library: install.sh FOLDER PREFIX LIBDIR INCLUDEDIR, FOLDER being that of
# libswiftdpo.so and libswiftdpo.a. With DESTDIR set, everything is placed below
# it, and says that it lies where it will lie without. Called by `make install`.
set -euo pipefail
folder=$1 prefix=$2 libdir=$3 includedir=$4
root=$(dirname "$0")/..
destination=${DESTDIR:-}

for place in "$prefix" "$libdir" "$includedir"; do
  case $place in
    /*) ;;
    *) echo "$place is not an absolute path" >&2 && exit 1 ;;
  esac
done

# The header knows the version; nothing else states it.
constant() { awk -v name="SWIFTDPO_$1" '$1 == "#define" && $2 == name {print $3}' "$root/include/swiftdpo.h"; }
version=$(constant VERSION_MAJOR).$(constant VERSION_MINOR).$(constant VERSION_PATCH)
soname=libswiftdpo.so.$(constant ABI_VERSION)
# The ABI version stands in the SONAME, and the release behind it: libswiftdpo.so.0 -> libswiftdpo.so.0.1.0.
file=libswiftdpo.so.$version

# CMake and Swift find everything from their files' own folders, so that a tree that was moved still works.
cmakedir=$libdir/cmake/swiftdpo
# Not below the header's folder: of a folder in its path the compiler reads the module maps of the folders below, too.
staticdir=$libdir/swiftdpo/static
relative() { realpath -ms --relative-to="$1" "$2"; }
fill() {
  sed -e "s|@VERSION@|$version|g" -e "s|@SONAME@|$soname|g" -e "s|@FILE@|$file|g" \
    -e "s|@PREFIX@|$prefix|g" -e "s|@LIBDIR@|$libdir|g" -e "s|@INCLUDEDIR@|$includedir|g" \
    -e "s|@CMAKE_TO_LIBDIR@|$(relative "$cmakedir" "$libdir")|g" \
    -e "s|@CMAKE_TO_INCLUDEDIR@|$(relative "$cmakedir" "$includedir")|g" \
    -e "s|@STATIC_TO_INCLUDEDIR@|$(relative "$staticdir" "$includedir")|g" "$root/packaging/$1"
}
put() { install -D -m 644 "$1" "$destination$2"; }
put_filled() { fill "$1" | put /dev/stdin "$2"; }

install -D -m 755 "$folder/libswiftdpo.so" "$destination$libdir/$file"
strip --strip-unneeded "$destination$libdir/$file"
ln -sf "$file" "$destination$libdir/$soname"
ln -sf "$soname" "$destination$libdir/libswiftdpo.so"
put "$folder/libswiftdpo.a" "$libdir/libswiftdpo.a"
for header in "$root"/include/*.h "$root"/include/*.hpp; do
  put "$header" "$includedir/$(basename "$header")"
done
put_filled module.modulemap.in "$includedir/swiftdpo/module.modulemap"
put_filled static.modulemap.in "$staticdir/module.modulemap"
put_filled swiftdpo.pc.in "$libdir/pkgconfig/swiftdpo.pc"
put_filled swiftdpo-config.cmake.in "$cmakedir/swiftdpo-config.cmake"
put_filled swiftdpo-config-version.cmake.in "$cmakedir/swiftdpo-config-version.cmake"
put "$root/LICENSE" "$prefix/share/licenses/swiftdpo/LICENSE"
