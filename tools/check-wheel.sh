#!/usr/bin/env bash
# Installs the wheel in a new environment, and uses it where there is no Swift and none of this folder's libraries:
# check-wheel.sh PYTHON WHEEL. Called by `make test-wheel`.
set -euo pipefail
cd "$(dirname "$0")/.."
python=$(command -v "$1") wheel=$(realpath "$2") root=$PWD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$python" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check --only-binary :all: \
  --constraint requirements/test.txt "$wheel"
# Nothing is found but what stands in the environment: no compiler, no Swift, no library of this folder's.
cd "$work"
env -i PATH="$work/venv/bin" python "$root/Tests/Wheel/exercise.py" "$root"
