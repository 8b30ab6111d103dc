"""Builds libswiftdpo with SwiftPM, the extensions with the C compiler, and puts them side by side.

Switches, all in the environment:
  SWIFTDPO_LIBRARY_DIR  folder of a libswiftdpo.so to bundle, instead of building one
  SWIFTDPO_SANITIZE     sanitizers for the extension, such as "address,undefined"
  SWIFTDPO_DEBUG        1: the extension without optimisation and with assertions
"""

import os
import re
import shutil
import subprocess
import sysconfig
from pathlib import Path

import numpy
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
HEADER = ROOT / "include" / "swiftdpo.h"

if not HEADER.is_file():
    raise SystemExit(
        f"swiftdpo: {HEADER} is missing. The library's Swift sources lie outside this folder, so the package "
        "cannot be built from a source distribution: run `pip install ./bindings/python` in a checkout of "
        "the whole repository, or install a wheel."
    )


def header_number(name: str) -> str:
    return re.search(rf"^#define SWIFTDPO_{name} (\d+)$", HEADER.read_text(), re.MULTILINE)[1]


VERSION = ".".join(header_number(f"VERSION_{part}") for part in ("MAJOR", "MINOR", "PATCH"))
SONAME = f"libswiftdpo.so.{header_number('ABI_VERSION')}"


def swift_library() -> Path:
    """The library to bundle."""
    if given := os.environ.get("SWIFTDPO_LIBRARY_DIR"):
        library = Path(given) / "libswiftdpo.so"
        if not library.is_file():
            raise SystemExit(f"swiftdpo: SWIFTDPO_LIBRARY_DIR is set, but there is no {library}")
        return library
    if shutil.which("swift") is None:
        raise SystemExit(
            "swiftdpo: there is no `swift` on the PATH. Install the toolchain of Swift 6.3 or newer "
            "(https://swift.org/install), or set SWIFTDPO_LIBRARY_DIR to the folder of a libswiftdpo.so."
        )
    build = ["swift", "build", "--configuration", "release", "--product", "swiftdpo"]
    subprocess.run(build, cwd=ROOT, check=True)
    folder = subprocess.check_output([*build, "--show-bin-path"], cwd=ROOT, text=True)
    return Path(folder.strip()) / "libswiftdpo.so"


class BuildWithLibrary(build_ext):
    """Builds the library, links the extensions against it, and puts it beside them under its SONAME."""

    def finalize_options(self) -> None:
        super().finalize_options()
        self.force = True  # The switches above are no files, so their changes would go unnoticed.

    def build_extension(self, ext: Extension) -> None:
        library = swift_library()
        ext.extra_objects = [str(library)]
        super().build_extension(ext)
        shutil.copy(library, Path(self.get_ext_fullpath(ext.name)).parent / SONAME)


# The stable ABI of 3.11 says the same in three places: the macro, the extension, the wheel. A free-threaded
# interpreter has no stable ABI before 3.15, and gets an extension of its own.
STABLE_ABI = not sysconfig.get_config_var("Py_GIL_DISABLED")

flags = ["-std=c11", "-fvisibility=hidden", "-Wall", "-Wextra"]
if sanitizers := os.environ.get("SWIFTDPO_SANITIZE"):
    flags.append(f"-fsanitize={sanitizers}")
link_flags = [flag for flag in flags if flag.startswith("-fsanitize")]
if os.environ.get("SWIFTDPO_DEBUG") == "1":
    flags += ["-O0", "-g", "-UNDEBUG"]


def extension(name: str, sources: list[Path], depends: list[str]) -> Extension:
    return Extension(
        f"swiftdpo.{name}",
        sources=sorted(str(path.relative_to(HERE)) for path in sources),
        depends=[*depends, os.path.relpath(HEADER, HERE)],
        include_dirs=[os.path.relpath(HEADER.parent, HERE), "src/third_party", numpy.get_include()],
        define_macros=[("Py_LIMITED_API", "0x030B0000")] if STABLE_ABI else [],
        py_limited_api=STABLE_ABI,
        extra_compile_args=flags,
        extra_link_args=link_flags,
        runtime_library_dirs=["$ORIGIN"],
    )


SOURCES = HERE / "src"

setup(
    version=VERSION,
    cmdclass={"build_ext": BuildWithLibrary},
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if STABLE_ABI else {},
    ext_modules=[
        extension("_core", [*SOURCES.glob("*.c")], ["src/core.h", "src/third_party/dlpack.h"]),
        # The same calls for XLA. It needs no part of JAX: XLA hands over a table of its functions.
        extension("_xla", [*SOURCES.glob("xla/*.c")], ["src/xla/frame.h", "src/third_party/xla/ffi_c_api.h"]),
    ],
)
