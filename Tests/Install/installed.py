"""What the tests of this folder share: the project's facts, and how to run make and programs."""

import os
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
HEADER = (ROOT / "include" / "swiftdpo.h").read_text()
VERSION = ".".join(
    re.findall(r"^#define SWIFTDPO_VERSION_(?:MAJOR|MINOR|PATCH) (\d+)$", HEADER, re.MULTILINE)
)
ABI = re.findall(r"^#define SWIFTDPO_ABI_VERSION (\d+)$", HEADER, re.MULTILINE)[0]
STRICT = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"]


def run(*command: str | Path, **environment: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | environment)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


def make_install(*assignments: str) -> None:
    # A make above this test would hand its own flags on.
    run("make", "--no-print-directory", "-C", ROOT, "install", *assignments, MAKEFLAGS="", MAKELEVEL="")
