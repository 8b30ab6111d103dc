"""docs/embedding.md: each of its commands, in order, with the sources of the page at hand.

Tests/Documentation runs the programs in C, C++ and Python once more, by themselves.
"""

import os
import re
import shutil
import sys
from pathlib import Path

import pytest
from installed import ROOT, make_install, run

PAGE = (ROOT / "docs/embedding.md").read_text()
SOURCES = {
    "c": "program.c",
    "cmake": "CMakeLists.txt",
    "cpp": "program.cpp",
    "swift": "program.swift",
    "rust": "program.rs",
}


def sections() -> dict[str, list[tuple[str, str]]]:
    """Of each section its blocks: language and text."""
    titles = re.split(r"^## (.*)$", PAGE, flags=re.MULTILINE)
    found = (re.findall(r"^```(\w+)\n(.*?)^```$", body, re.MULTILINE | re.DOTALL) for body in titles[2::2])
    return dict(zip(titles[1::2], found, strict=True))


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    prefix = tmp_path_factory.mktemp("embedding") / "installed"
    assert sections()["Install"] == [("sh", 'make install PREFIX="$PREFIX"\n')]
    make_install(f"PREFIX={prefix}")
    return prefix


@pytest.mark.parametrize("title", ["C", "Swift", "Rust", "Plug-ins"])
def test_commands(title: str, installed: Path, tmp_path: Path) -> None:
    environment = {
        "PREFIX": str(installed),
        "PKG_CONFIG_PATH": str(installed / "lib/pkgconfig"),
        # cmake is one of the test requirements.
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    blocks = sections()[title]
    for language, text in sections()["C"] if title == "Plug-ins" else blocks:
        if language in SOURCES:
            (tmp_path / SOURCES[language]).write_text(text)
    [expected] = {text for language, text in blocks if language == "text"} or {""}
    printed = [
        run("sh", "-ec", f"cd '{tmp_path}'\n{text}", **environment)
        for language, text in blocks
        if language == "sh"
    ]
    assert printed
    if title == "C":  # each of its commands that runs a program runs the same one
        assert printed[0] == 3 * expected
        assert printed[1].endswith(2 * expected)
    else:
        assert printed == [expected]


def test_every_command_is_run() -> None:
    tested = {"Install", "C", "Swift", "Rust", "Plug-ins"}
    assert {
        title for title, blocks in sections().items() if any(kind == "sh" for kind, _ in blocks)
    } == tested
    assert shutil.which("rustc"), "the tests need it"
