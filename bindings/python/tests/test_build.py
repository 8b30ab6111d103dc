"""What cannot be built says so at once, and says what to do."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]


def build(folder, project=PROJECT, **environment):
    command = [sys.executable, "setup.py", "build_ext", "--build-lib", folder, "--build-temp", folder]
    run = subprocess.run(command, cwd=project, env=os.environ | environment, capture_output=True, text=True)
    assert run.returncode != 0
    return run.stderr


def test_without_swift(tmp_path):
    error = build(tmp_path, PATH=str(tmp_path), SWIFTDPO_LIBRARY_DIR="")
    assert "no `swift` on the PATH" in error
    assert "SWIFTDPO_LIBRARY_DIR" in error


def test_without_the_library_that_is_to_be_bundled(tmp_path):
    error = build(tmp_path, SWIFTDPO_LIBRARY_DIR=str(tmp_path))
    assert f"no {tmp_path / 'libswiftdpo.so'}" in error


def test_outside_the_repository(tmp_path):
    project = tmp_path / "somewhere" / "else" / "swiftdpo"
    project.mkdir(parents=True)
    for file in ("setup.py", "pyproject.toml", "README.md"):
        shutil.copy(PROJECT / file, project)
    assert "cannot be built from a source distribution" in build(tmp_path, project)
