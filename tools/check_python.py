"""Says what this interpreter lacks for building the package, and how to get it. Runs under any Python 3."""

import importlib.util
import os
import sys
import sysconfig

NEEDED = (3, 11)


def complaints():
    if sys.version_info < NEEDED:
        needed, found = (".".join(map(str, version)) for version in (NEEDED, sys.version_info[:2]))
        yield f"Python {needed} or newer is needed; this is {found}. Name another with PYTHON="
    if importlib.util.find_spec("ensurepip") is None:
        yield "It cannot make virtual environments. On Debian: apt-get install python3-venv"
    if not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")):
        yield "It has no C headers. On Debian: apt-get install libpython3-dev"


if __name__ == "__main__":
    found = list(complaints())
    if found:
        sys.exit("\n".join([f"{sys.executable} cannot build swiftdpo.", *found]))
