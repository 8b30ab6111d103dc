"""The header as Doxygen reads it: sections.py FILE. Sections become groups; what is laid out stays so.

In the header a section begins with a comment whose title stands between rules. What is outside doc comments
would be lost, and formulas inside them run together: both are marked here, so that the header stays readable.
"""

import re
import sys
from pathlib import Path

RULE = re.compile(r"-{50,}")


def body_of(comment: str) -> str:
    """The text between the signs that make it a comment."""
    inner = re.sub(r"^/\*+ ?|\s*\*/$", "", comment)
    return re.sub(r"^ *\* ?", "", inner, flags=re.MULTILINE).strip("\n")


def escaped(text: str) -> str:
    """Without the signs that Doxygen takes for markup; its own commands stay."""
    return re.sub(r"[<>#&%\\]|::", lambda sign: "\\" + sign[0], text)


def laid_out(text: str) -> str:
    """Indented lines are formulas and tables, and stay as they are; the others run on as paragraphs."""
    prose, commands, rest = text.partition("\n@")
    result: list[str] = []
    for line in prose.split("\n"):
        formula = line.startswith("  ") or (not line and bool(result) and result[-1].startswith("  "))
        result.append(line if formula else escaped(line))
    marked = re.sub(
        r"(?:^  .*\n|^\n(?=  ))*^  .*$",
        lambda part: f"@verbatim\n{part[0].strip(chr(10))}\n@endverbatim",
        "\n".join(result),
        flags=re.MULTILINE,
    )
    return marked + escaped(commands + rest)


def doc(text: str) -> str:
    return f"/** {text}\n*/"  # without stars at the lines' beginnings, which would show up in formulas


class Header:
    def __init__(self) -> None:
        self.in_group = False

    def comment(self, match: re.Match[str]) -> str:
        comment = match[0]
        if comment.startswith("/**<"):
            return "/**< " + escaped(comment[4:-2].strip()) + " */"
        if comment.startswith("/**"):
            return doc(laid_out(body_of(comment)))
        if RULE.match(body_of(comment)):
            _, title, _, *body = body_of(comment).split("\n")
            return self.section(title.strip(), "\n".join(body).strip("\n"))
        if match.start() == 0:  # the manual's first page
            return doc("@mainpage\n\n" + laid_out(body_of(comment)))
        return comment

    def section(self, title: str, body: str) -> str:
        name = re.sub(r"\W+", "_", title.lower())
        begin = doc(f"@defgroup {name} {title}\n\n{laid_out(body)}\n@{{")
        end = "/** @} */\n" if self.in_group else ""
        self.in_group = True
        return end + begin

    def __call__(self, text: str) -> str:
        text = re.sub(r"/\*.*?\*/", self.comment, text, flags=re.DOTALL)
        return text + ("/** @} */\n" if self.in_group else "")


if __name__ == "__main__":
    sys.stdout.write(Header()(Path(sys.argv[1]).read_text(encoding="utf-8")))
