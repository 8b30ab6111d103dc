"""`swiftdpo.hpp`: the same results as C's, and the same instructions."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
LIBRARY_DIR = ROOT / ".build" / "release"
COMPILE = ["c++", "-std=c++20", "-O2", "-Wall", "-Wextra", "-Wpedantic", "-Werror", f"-I{ROOT / 'include'}"]


def run(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("name", ["consumer", "families"])
def test_program(name: str, tmp_path: Path) -> None:
    program = tmp_path / name
    link = [f"-L{LIBRARY_DIR}", f"-Wl,-rpath,{LIBRARY_DIR}", "-lswiftdpo"]
    run(*COMPILE, HERE / f"{name}.cpp", *link, "-o", program)
    assert re.fullmatch(rf"C\+\+20 {name}: \d{{2,}} passed, 0 failed\n", run(program))


# What C++ programs call as C programs do (swiftdpo.h is included), or by check_version: families of calls.
AS_IN_C = {
    "swiftdpo_abi_version",
    "swiftdpo_best_of_n_kl_bound",
    "swiftdpo_blas_info",
    "swiftdpo_count_responses",
    "swiftdpo_enumerate_partition",
    "swiftdpo_fused_linear_dpo_loss",
    "swiftdpo_fused_linear_logps",
    "swiftdpo_fused_linear_logps_backward",
    "swiftdpo_fused_linear_plackett_luce_loss",
    "swiftdpo_fused_linear_unpaired_loss",
    "swiftdpo_fused_linear_vocab_shard",
    "swiftdpo_fused_linear_workspace",
    "swiftdpo_listwise_loss",
    "swiftdpo_philox4x32_10",
    "swiftdpo_token_partition",
    "swiftdpo_use_blas",
}


def test_every_function_is_in_it_or_is_meant_to_be_called_as_in_c() -> None:
    exports = (ROOT / "Sources/SwiftDPO/exports.map").read_text()
    text = (ROOT / "include/swiftdpo.hpp").read_text()
    functions = {
        name for name in re.findall(r"^ *(swiftdpo_\w+);", exports, re.M) if not name.endswith("_init")
    }
    families = {re.sub(r"_(f32|f64|f16|bf16)$", "", name) for name in functions}
    missing = {family for family in families if not re.search(rf"\b{family}(_##|\b|_f64\b)", text)}
    assert missing == AS_IN_C


@pytest.fixture(scope="module")
def instructions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The instructions of each function of cost.cpp that is not cold."""
    compiled = tmp_path_factory.mktemp("cost") / "cost.o"
    run(*COMPILE, "-c", HERE / "cost.cpp", "-o", compiled)
    functions: dict[str, list[str]] = {}
    for line in run("objdump", "--disassemble", "--no-show-raw-insn", compiled).splitlines():
        if name := re.match(r"[0-9a-f]+ <(.*)>:$", line):
            body = functions.setdefault(name[1], [])
        elif instruction := re.match(r" +[0-9a-f]+:\t(.*)", line):
            body.append(instruction[1])
    return functions


def test_a_call_takes_no_more_instructions_than_in_c(instructions: dict[str, list[str]]) -> None:
    by_c, by_cpp = instructions["call_by_c"], instructions["call_by_cpp"]
    assert 10 < len(by_cpp) <= len(by_c)
    for body in by_c, by_cpp:  # The library is the one thing that is called on the way to the result.
        assert sum(line.startswith("call") for line in body[: 1 + next_return(body)]) == 1


def next_return(body: list[str]) -> int:
    return next(i for i, line in enumerate(body) if line.startswith("ret"))
