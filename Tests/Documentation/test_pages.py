"""The pages of the documentation do what they say: their programs run, and their links lead somewhere."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from pages import PAGES, ROOT, Block, blocks, name

# The README's programs are run by test_readme.py. Elsewhere a block of a language that nothing runs fails.
PROGRAMS = [page for page in PAGES if page.name != "README.md"]
RUN_HERE = {"python", "c", "cpp"}
RUN_ELSEWHERE = {
    "docs/architecture.md": {"mermaid"},  # a drawing
    "docs/fused-head.md": {"mermaid"},
    "docs/embedding.md": {"sh", "cmake", "swift", "rust", "make"},  # Tests/Install and Tests/Examples
    "docs/frameworks.md": {"sh"},
    "docs/distributed.md": {"sh"},
    "docs/performance.md": {"sh", "asm"},
}


def of(language: str) -> list[Path]:
    return [page for page in PROGRAMS if any(block.language == language for block in blocks(page))]


@pytest.mark.parametrize("page", of("python"), ids=name)
def test_python(page: Path, tmp_path: Path) -> None:
    """A page is one program. After each block it says what it printed since the last one."""
    mark = "--- block ---"
    parts = [block for block in blocks(page) if block.language == "python"]
    script = tmp_path / "page.py"
    script.write_text("".join(f"{block.text}\nprint({mark!r})\n" for block in parts))
    environment = os.environ | {"MPLBACKEND": "Agg"}
    finished = subprocess.run(
        [sys.executable, str(script)], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert finished.returncode == 0, finished.stderr
    for block, printed in zip(parts, finished.stdout.split(f"{mark}\n"), strict=False):
        assert printed == (block.output or ""), f"{name(page)}:{block.line}"


def compile_and_run(block: Block, command: list[str], folder: Path) -> None:
    source = folder / f"block.{block.language}"
    source.write_text(block.text)
    library = ROOT / ".build" / "release"
    program = folder / "block"
    link = [f"-L{library}", f"-Wl,-rpath,{library}", "-lswiftdpo", "-o", str(program)]
    subprocess.run([*command, f"-I{ROOT / 'include'}", str(source), *link], check=True)
    printed = subprocess.run([str(program)], check=True, capture_output=True, text=True).stdout
    assert printed == (block.output or "")


STRICT = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"]


@pytest.mark.parametrize("page", of("c"), ids=name)
def test_c(page: Path, tmp_path: Path) -> None:
    for block in blocks(page):
        if block.language == "c":
            compile_and_run(block, ["cc", "-std=c11", *STRICT], tmp_path)


@pytest.mark.parametrize("page", of("cpp"), ids=name)
def test_cpp(page: Path, tmp_path: Path) -> None:
    for block in blocks(page):
        if block.language == "cpp":
            compile_and_run(block, ["c++", "-std=c++20", *STRICT], tmp_path)


@pytest.mark.parametrize("page", PROGRAMS, ids=name)
def test_every_block_is_run(page: Path) -> None:
    allowed = RUN_HERE | RUN_ELSEWHERE.get(name(page), set())
    page_blocks = blocks(page)
    outputs = [block.output for block in page_blocks]
    for block in page_blocks:
        is_output = block.language == "text" and block.text in outputs
        assert block.language in allowed or is_output, f"{name(page)}:{block.line}: nothing runs this block"


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", page.read_text()):
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{name(page)}: {target}"
        if anchor:
            assert anchor in anchors(file), f"{name(page)}: {target}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_make_command_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:^ {4}|`|^)make ([a-z][a-z0-9-]*)", page.read_text(), re.MULTILINE))
    assert named <= targets, f"{name(page)}: {named - targets}"


def test_the_map_is_the_tree() -> None:
    """The architecture page names each folder that holds code, and no other."""
    page = (ROOT / "docs" / "architecture.md").read_text()
    named = set(re.findall(r"^\| `([^`]+/)` \|", page, re.MULTILINE))
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    folders = set()
    for file in listed.splitlines():
        top, *rest = file.split("/")
        if top in {"Sources", "Tests", "bindings"}:
            folders.add("/".join([top, *rest[:1]]) + "/")
        elif rest and not top.startswith("."):
            folders.add(top + "/")
    assert named == folders


def test_every_page_is_reached_from_the_readme() -> None:
    seen, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in seen:
            continue
        seen.add(page)
        for target in re.findall(r"\]\((?!https?:)([^)\s#]+\.md)[^)]*\)", page.read_text()):
            waiting.append((page.parent / target).resolve())
    assert set(PAGES) <= seen, set(map(name, set(PAGES) - seen))
