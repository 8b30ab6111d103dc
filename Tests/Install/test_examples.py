"""The example programs, built against the installed tree as their first lines say, do what they are for."""

import json
import re
import sys
from pathlib import Path

import pytest
from installed import ABI, ROOT, STRICT, run

EXAMPLES = ROOT / "examples"
LEARNED = (0.1870, 1.5817)  # the loss and the margin that the README's loop ends with


def learned(output: str) -> tuple[float, float]:
    found = re.fullmatch(r"loss ([0-9.]+), reward margin ([0-9.]+)\n", output)
    assert found is not None, output
    return float(found[1]), float(found[2])


def test_the_readme_ends_with_the_same_numbers() -> None:
    assert "loss {:.4f}, reward margin {:.4f}\n".format(*LEARNED) in (ROOT / "README.md").read_text()


def test_rank_fit(prefix: Path, tmp_path: Path) -> None:
    """The published worths, to their eight decimals, and the likelihood there."""
    program = tmp_path / "rank_fit"
    flags = [f"-I{prefix / 'include'}", f"-L{prefix / 'lib'}", "-lswiftdpo", "-lm"]
    run("cc", "-std=c11", "-O2", *STRICT, EXAMPLES / "c/rank_fit.c", *flags, "-o", program)
    output = run(program, EXAMPLES / "data/nascar2002.json", LD_LIBRARY_PATH=str(prefix / "lib"))
    published = json.loads((EXAMPLES / "data/nascar2002_published.json").read_text())["worths"]
    worths = {name: float(worth) for name, worth in re.findall(r"^ *\d+  (.+?)  +(0\.\d+)$", output, re.M)}
    assert worths.keys() == published.keys()
    for name, worth in published.items():
        assert worths[name] == pytest.approx(worth, rel=0, abs=5.01e-9), name
    assert "log-likelihood -4191.0972845973 " in output


def test_swift(prefix: Path, tmp_path: Path) -> None:
    """With the shared library; test_static_library.py runs the same program with the other one."""
    program = tmp_path / "bigrams"
    module = [f"-I{prefix / 'include/swiftdpo'}", f"-L{prefix / 'lib'}"]
    run("swiftc", "-O", *module, EXAMPLES / "swift/bigrams.swift", "-lm", "-o", program)
    assert f"[libswiftdpo.so.{ABI}]" in run("readelf", "--dynamic", program)
    assert learned(run(program, LD_LIBRARY_PATH=str(prefix / "lib"))) == LEARNED


def test_rust(prefix: Path, tmp_path: Path) -> None:
    program = tmp_path / "bigrams"
    options = ["-O", "--edition=2021", "-Dwarnings", f"-L{prefix / 'lib'}"]
    run("rustc", *options, EXAMPLES / "rust/bigrams.rs", "-o", program)
    assert learned(run(program, LD_LIBRARY_PATH=str(prefix / "lib"))) == LEARNED


def test_ctypes(prefix: Path) -> None:
    program = EXAMPLES / "ctypes/bigrams.py"
    assert learned(run(sys.executable, program, prefix / "lib" / f"libswiftdpo.so.{ABI}")) == LEARNED


@pytest.mark.parametrize(
    "structs",
    [
        ("swiftdpo_logits_f32", "Logits"),
        ("swiftdpo_logps_results", "LogpsResults"),
        ("swiftdpo_pairs_f64", "Pairs"),
        ("swiftdpo_pair_results_f64", "PairResults"),
    ],
    ids=lambda structs: structs[0],
)
def test_declarations_by_hand_are_those_of_the_header(structs: tuple[str, str]) -> None:
    """Field by field: Rust and ctypes cannot read the header. It may have more fields by now, at its end."""
    in_header, in_examples = structs
    header = (ROOT / "include/swiftdpo.h").read_text()
    rust = (EXAMPLES / "rust/bigrams.rs").read_text()
    python = (EXAMPLES / "ctypes/bigrams.py").read_text()

    def found(pattern: str, text: str) -> str:
        match = re.search(pattern, text, re.DOTALL)
        assert match is not None, pattern
        return re.sub(r"/\*.*?\*/", "", match[1], flags=re.DOTALL)

    fields = re.findall(r"(\w+);", found(rf"struct {in_header} \{{(.*?)\n\}} {in_header};", header))
    in_rust = re.findall(r"(\w+):", found(rf"struct {in_examples} \{{(.*?)\n\}}", rust))
    in_python = re.findall(
        r'\("(\w+)"', found(rf"class {in_examples}\(.*?_fields_ = \[(.*?)\n    \]", python)
    )
    assert in_rust == in_python == fields[: len(in_rust)]
    assert len(in_rust) > 5
