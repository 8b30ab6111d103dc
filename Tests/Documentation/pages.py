"""The documentation's pages, and the blocks of code in them."""

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


class Block(NamedTuple):
    language: str
    text: str
    line: int
    output: str | None
    """What the page says that the block prints: the block of text right behind it."""


def blocks(page: Path) -> list[Block]:
    found = list(re.finditer(r"^```(\w*)\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL))
    result = []
    for match, following in zip(found, [*found[1:], None], strict=False):
        output = None
        if following and following[1] == "text" and not match.string[match.end() : following.start()].strip():
            output = following[2]
        line = match.string.count("\n", 0, match.start()) + 2
        result.append(Block(match[1], match[2], line, output))
    return result


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))
