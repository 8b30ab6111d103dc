"""The README does what it says: its programs are taken from the page and run."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()


def section(title: str) -> str:
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", README, re.MULTILINE | re.DOTALL)
    assert found is not None, title
    return found[1]


def code(title: str, language: str) -> str:
    """The section's one block of code in a language."""
    blocks = re.findall(rf"^```{language}\n(.*?)^```$", section(title), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 1, f"{title}: {len(blocks)} blocks of {language}"
    return str(blocks[0])


def run(command: list[str], folder: Path) -> str:
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


def test_the_c_program(tmp_path: Path) -> None:
    """Compiled by the very command of the page, in a folder that looks like the repository's root."""
    (tmp_path / "include").symlink_to(ROOT / "include")
    (tmp_path / ".build").symlink_to(ROOT / ".build")
    (tmp_path / "example.c").write_text(code("From C", "c"))
    make, *commands = code("From C", "sh").splitlines()
    assert make == "make library"
    assert run(["sh", "-ec", "\n".join(commands)], tmp_path) == code("From C", "text")


def test_the_c_program_is_strict_c11(tmp_path: Path) -> None:
    source = tmp_path / "example.c"
    source.write_text(code("From C", "c"))
    strict = ["-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only"]
    run(["cc", *strict, f"-I{ROOT / 'include'}", str(source)], tmp_path)


def test_the_python_loop(tmp_path: Path) -> None:
    script = tmp_path / "loop.py"
    script.write_text(code("From Python", "python"))
    assert run([sys.executable, str(script)], tmp_path) == code("From Python", "text")
