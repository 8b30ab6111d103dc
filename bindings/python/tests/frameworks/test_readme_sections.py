"""The README's programs for frameworks, taken from the page and run."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[4]
README = (ROOT / "README.md").read_text()


def code(title: str, language: str) -> str:
    """The section's one block of code in a language."""
    section = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", README, re.MULTILINE | re.DOTALL)
    assert section is not None, title
    blocks = re.findall(rf"^```{language}\n(.*?)^```$", section[1], re.MULTILINE | re.DOTALL)
    assert len(blocks) == 1, f"{title}: {len(blocks)} blocks of {language}"
    return str(blocks[0])


def has(title: str, language: str) -> bool:
    return f"```{language}\n" in README.split(f"\n## {title}\n")[1].split("\n## ")[0]


@pytest.mark.parametrize(
    "title", ["In PyTorch", "In JAX", "From Arrow, and from the command line", "On several machines"]
)
def test_the_program_prints_what_the_page_says(title: str, tmp_path: Path) -> None:
    """The section's program and its commands, of which there is one at least, where the examples are."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    commands = ""
    if has(title, "python"):
        (tmp_path / "program.py").write_text(code(title, "python"))
        commands += "python program.py 2>&1\n"
    if has(title, "sh"):
        errors = "2> /dev/null" if title == "On several machines" else "2>&1"  # torchrun has much to say
        commands += "".join(f"{line} {errors} || test $? = 1\n" for line in code(title, "sh").splitlines())
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    finished = subprocess.run(
        ["sh", "-ec", commands], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert finished.stdout == code(title, "text"), finished.stderr


def test_the_trainer_says_at_last_what_the_page_says(tmp_path: Path) -> None:
    """Before that it prints its logs, with times."""
    (tmp_path / "program.py").write_text(code("In TRL", "python"))
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    finished = subprocess.run(
        [sys.executable, "program.py"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.splitlines()[-1] + "\n" == code("In TRL", "text")
