"""`make install`: programs find what it installs by pkg-config, by CMake and by dlopen."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from installed import ABI, HERE, ROOT, STRICT, VERSION, make_install, run


@pytest.fixture(scope="module")
def cmake() -> str:
    found = shutil.which("cmake", path=Path(sys.executable).parent) or shutil.which("cmake")
    assert found is not None, "requirements/test.txt installs it"
    return found


def test_what_is_installed(prefix: Path) -> None:
    files = {str(path.relative_to(prefix)) for path in prefix.rglob("*") if not path.is_dir()}
    headers = {f"include/{path.name}" for path in (ROOT / "include").glob("swiftdpo*.h*")}
    assert files == headers | {
        f"lib/libswiftdpo.so.{VERSION}",
        f"lib/libswiftdpo.so.{ABI}",
        "lib/libswiftdpo.so",
        "lib/libswiftdpo.a",
        "lib/pkgconfig/swiftdpo.pc",
        "lib/cmake/swiftdpo/swiftdpo-config.cmake",
        "lib/cmake/swiftdpo/swiftdpo-config-version.cmake",
        "include/swiftdpo/module.modulemap",
        "lib/swiftdpo/static/module.modulemap",
        "share/licenses/swiftdpo/LICENSE",
    }
    assert (prefix / "lib" / f"libswiftdpo.so.{ABI}").readlink() == Path(f"libswiftdpo.so.{VERSION}")
    assert (prefix / "lib/libswiftdpo.so").readlink() == Path(f"libswiftdpo.so.{ABI}")


def test_the_library_is_stripped_and_exports_the_same(prefix: Path) -> None:
    installed = prefix / "lib/libswiftdpo.so"
    assert ".symtab" not in run("readelf", "--sections", "--wide", installed)
    exports = ["nm", "--dynamic", "--defined-only", "--format=just-symbols"]
    assert run(*exports, installed) == run(*exports, ROOT / ".build/release/libswiftdpo.so")


def test_nothing_installed_names_the_folder_it_was_built_in(prefix: Path) -> None:
    for path in prefix.rglob("*"):
        assert path.is_dir() or os.fsencode(ROOT) not in path.read_bytes(), path


@pytest.mark.parametrize(
    "compiler, source", [(["cc", "-std=c11"], "consumer.c"), (["c++", "-std=c++17"], "consumer.cpp")]
)
def test_pkg_config(tmp_path: Path, compiler: list[str], source: str) -> None:
    """PREFIX with pkg-config's defaults, as on a user's machine."""
    make_install(f"PREFIX={tmp_path}")
    search = {"PKG_CONFIG_PATH": str(tmp_path / "lib/pkgconfig")}
    assert run("pkg-config", "--modversion", "swiftdpo", **search).strip() == VERSION
    flags = run("pkg-config", "--cflags", "--libs", "swiftdpo", **search).split()
    program = tmp_path / "program"
    run(*compiler, *STRICT, HERE / source, *flags, "-lm", "-o", program)
    needed = run("readelf", "--dynamic", "--wide", program)
    assert f"[libswiftdpo.so.{ABI}]" in needed
    assert "0.598138869382" in run(program, LD_LIBRARY_PATH=str(tmp_path / "lib"))


def test_pkg_config_below_destdir(tmp_path: Path) -> None:
    """A cross compiler's or packager's sysroot, and folders of a distribution's choice."""
    make_install("PREFIX=/usr", "LIBDIR=/usr/lib/multiarch", "INCLUDEDIR=/usr/headers", f"DESTDIR={tmp_path}")
    search = {
        "PKG_CONFIG_LIBDIR": str(tmp_path / "usr/lib/multiarch/pkgconfig"),
        "PKG_CONFIG_SYSROOT_DIR": str(tmp_path),
    }
    flags = run("pkg-config", "--cflags", "--libs", "swiftdpo", **search).split()
    assert flags == [f"-I{tmp_path}/usr/headers", f"-L{tmp_path}/usr/lib/multiarch", "-lswiftdpo"]
    config = (tmp_path / "usr/lib/multiarch/cmake/swiftdpo/swiftdpo-config.cmake").read_text()
    assert '"${CMAKE_CURRENT_LIST_DIR}/../../../../headers"' in config


def configure(cmake: str, prefix: Path, build: Path, requested: str) -> subprocess.CompletedProcess[str]:
    command = [
        cmake,
        "-S",
        str(HERE),
        "-B",
        str(build),
        f"-DCMAKE_PREFIX_PATH={prefix}",
        f"-DREQUESTED={requested}",
    ]
    return subprocess.run(command, capture_output=True, text=True)


def test_cmake(prefix: Path, cmake: str, tmp_path: Path) -> None:
    configured = configure(cmake, prefix, tmp_path, VERSION)
    assert configured.returncode == 0, configured.stderr
    run(cmake, "--build", tmp_path)
    # CMake writes the library's folder into programs of the build tree: they start as they are.
    for program in ["consumer_c", "consumer_cpp"]:
        assert "0.598138869382" in run(tmp_path / program)
    assert "libswiftdpo" not in run("readelf", "--dynamic", tmp_path / "consumer_static")
    assert "0.598138869382" in run(tmp_path / "consumer_static")


def test_cmake_without_the_static_library(prefix: Path, cmake: str, tmp_path: Path) -> None:
    """As packagers may have it: the one target is there, and the other is not."""
    shutil.copytree(prefix, tmp_path / "tree", symlinks=True)
    (tmp_path / "tree/lib/libswiftdpo.a").unlink()
    refused = configure(cmake, tmp_path / "tree", tmp_path / "build", VERSION)
    assert refused.returncode != 0
    assert "swiftdpo::swiftdpo_static" in refused.stderr and "swiftdpo::swiftdpo\n" not in refused.stderr


@pytest.mark.parametrize("requested", ["99.0", "0.0.9" if VERSION.startswith("0.") else "0.1"])
def test_cmake_refuses_another_version(prefix: Path, cmake: str, tmp_path: Path, requested: str) -> None:
    refused = configure(cmake, prefix, tmp_path, requested)
    assert refused.returncode != 0
    assert f"version: {VERSION}" in refused.stderr


def test_dlopen(prefix: Path, tmp_path: Path) -> None:
    program = tmp_path / "plugin"
    run("cc", "-std=c11", *STRICT, f"-I{prefix / 'include'}", HERE / "plugin.c", "-ldl", "-o", program)
    output = run(program, prefix / "lib" / f"libswiftdpo.so.{ABI}")
    assert output == "blamed policy_rejected_logps[0]\nloss 0.6931472\n"


def test_a_relative_prefix_is_refused() -> None:
    command = ["make", "--no-print-directory", "-C", str(ROOT), "install", "PREFIX=here"]
    refused = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"MAKEFLAGS": ""})
    assert refused.returncode != 0 and "here is not an absolute path" in refused.stderr
