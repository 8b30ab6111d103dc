"""What libswiftdpo.so shows to the world: exactly the header's functions. What it needs: libc and libm."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEADER = (ROOT / "include" / "swiftdpo.h").read_text()
LIBRARY = ROOT / ".build" / "release" / "libswiftdpo.so"
VERSION_SCRIPT = ROOT / "Sources" / "SwiftDPO" / "exports.map"


def output_of(*command: str | Path) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def declared() -> set[str]:
    """The functions that the header declares, as the preprocessor and a C compiler see them."""
    source = output_of("cc", "-E", "-P", ROOT / "include" / "swiftdpo.h")
    return set(re.findall(r"\b(swiftdpo_\w+)\s*\([^;{]*\)\s*;", source))


def test_header_declares_functions(declared: set[str]) -> None:
    assert {"swiftdpo_version", "swiftdpo_dpo_loss_f64", "swiftdpo_pairs_f32_init"} <= declared


def test_exports_are_the_functions_of_the_header(declared: set[str]) -> None:
    lines = output_of("nm", "--dynamic", "--defined-only", LIBRARY).splitlines()
    symbols = [line.split()[1:] for line in lines]
    # A version script's own node shows up as an absolute symbol.
    functions = {name.partition("@")[0] for kind, name in symbols if kind != "A"}
    assert {kind for kind, _ in symbols} <= {"T", "A"}
    assert functions == declared


def test_version_script_lists_the_functions_of_the_header(declared: set[str]) -> None:
    listed = re.findall(r"^\s*(swiftdpo_\w+);", VERSION_SCRIPT.read_text(), re.MULTILINE)
    assert listed == sorted(declared)


def test_soname_carries_the_abi_version() -> None:
    version = re.search(r"^#define SWIFTDPO_ABI_VERSION (\d+)$", HEADER, re.MULTILINE)
    assert version is not None
    dynamic = output_of("readelf", "--dynamic", "--wide", LIBRARY)
    assert re.findall(r"\(SONAME\).*\[(.*)\]", dynamic) == [f"libswiftdpo.so.{version[1]}"]


def test_needs_only_libc_and_libm() -> None:
    needed = {line.split()[0] for line in output_of("ldd", LIBRARY).splitlines()}
    names = {Path(name).name for name in needed}
    assert "libc.so.6" in names
    assert names <= {
        "libc.so.6",
        "libm.so.6",
        "linux-vdso.so.1",
        "ld-linux-x86-64.so.2",
        "ld-linux-aarch64.so.1",
    }


def test_runs_on_older_systems() -> None:
    """From glibc 2.17 on, of 2012: what is newer needs OLD_GLIBC of Sources/CPlatform/old_glibc.h."""
    symbols = output_of("nm", "--dynamic", "--undefined-only", LIBRARY)
    newer = {symbol for symbol, minor in re.findall(r"(\w+)@GLIBC_2\.(\d+)", symbols) if int(minor) > 17}
    assert "@GLIBC_2." in symbols and newer == set()


def test_has_no_text_relocations_and_no_executable_stack() -> None:
    assert not re.search(r"\((RPATH|TEXTREL)\)", output_of("readelf", "--dynamic", LIBRARY))
    stack = re.search(
        r"GNU_STACK.*?\s(R\w*)\s+\w+$", output_of("readelf", "--segments", "--wide", LIBRARY), re.MULTILINE
    )
    assert stack is not None
    assert "E" not in stack[1]


def test_is_small_when_stripped(tmp_path: Path) -> None:
    stripped = tmp_path / "libswiftdpo.so"
    shutil.copy(LIBRARY, stripped)
    subprocess.run(["strip", stripped], check=True)
    assert stripped.stat().st_size < 692_500


def test_names_no_folder_of_the_machine_that_built_it() -> None:
    assert str(ROOT).encode() not in LIBRARY.read_bytes()
