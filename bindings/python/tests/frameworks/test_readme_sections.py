"""The README's programs for frameworks, taken from the page and run."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

README = (Path(__file__).resolve().parents[4] / "README.md").read_text()


def code(title: str, language: str) -> str:
    """The section's one block of code in a language."""
    section = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", README, re.MULTILINE | re.DOTALL)
    assert section is not None, title
    blocks = re.findall(rf"^```{language}\n(.*?)^```$", section[1], re.MULTILINE | re.DOTALL)
    assert len(blocks) == 1, f"{title}: {len(blocks)} blocks of {language}"
    return str(blocks[0])


@pytest.mark.parametrize("title", ["In JAX"])
def test_the_program_prints_what_the_page_says(title: str, tmp_path: Path) -> None:
    script = tmp_path / "program.py"
    script.write_text(code(title, "python"))
    finished = subprocess.run([sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True)
    assert finished.stdout == code(title, "text"), finished.stderr
