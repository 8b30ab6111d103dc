#!/usr/bin/env bash
# Is the build reproducible? Compares what `make install` installs from here with what it installs from a clean build of
# the same files in another folder, whose name is longer. Called by `make test-reproducible`.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
copy=$work/another-folder-with-a-longer-name/and-one-below-it

mkdir -p "$copy"
git ls-files -z --cached --others --exclude-standard | tar --create --null --files-from=- | tar --extract --directory="$copy"
make --no-print-directory install DESTDIR="$work/here" > /dev/null
make --no-print-directory -C "$copy" install DESTDIR="$work/there"
diff --recursive "$work/here" "$work/there"
(cd "$work/there" && find . -type f -exec sha256sum {} +)
echo "the same bytes"
