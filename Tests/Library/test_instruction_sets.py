"""Code for newer processors stays in its own kernels: the rest of the library runs on any x86-64 machine."""

import collections
import platform
import re
import subprocess
from pathlib import Path

import pytest

LIBRARY = Path(__file__).resolve().parents[2] / ".build" / "release" / "libswiftdpo.so"

FUNCTION = re.compile(r"^[0-9a-f]+ <(.*)>:$")
INSTRUCTION = re.compile(r"^\s*[0-9a-f]+:\t(\S+)\s*(.*)$")

one_build = platform.machine() != "x86_64"
pytestmark = pytest.mark.skipif(one_build, reason="the library has one build of its kernels here")


@pytest.fixture(scope="module")
def instructions() -> dict[str, list[tuple[str, str]]]:
    """(mnemonic, operands) of each function of the library, local ones among them."""
    text = subprocess.run(
        ["objdump", "--disassemble", "--no-show-raw-insn", LIBRARY],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    functions: dict[str, list[tuple[str, str]]] = collections.defaultdict(list)
    name = ""
    for line in text.splitlines():
        if match := FUNCTION.match(line):
            name = match[1]
        elif match := INSTRUCTION.match(line):
            functions[name].append((match[1], match[2]))
    return functions


def is_avx(mnemonic: str, operands: str) -> bool:
    """AVX and all later vector instructions are encoded with a prefix that mnemonics show as v."""
    return mnemonic.startswith("v") or bool(re.search(r"%[yz]mm|%k[1-7]\b", operands))


def module_of(function: str) -> str:
    return next((name for name in ("KernelsAVX512", "KernelsAVX2") if name in function), "elsewhere")


def test_avx_stands_in_its_own_kernels_alone(instructions: dict[str, list[tuple[str, str]]]) -> None:
    offenders = {
        function
        for function, body in instructions.items()
        if module_of(function) == "elsewhere" and any(is_avx(*instruction) for instruction in body)
    }
    assert offenders == set()


def test_avx512_stands_in_its_own_kernels_alone(instructions: dict[str, list[tuple[str, str]]]) -> None:
    offenders = {
        function
        for function, body in instructions.items()
        if module_of(function) != "KernelsAVX512" and any("%zmm" in operands for _, operands in body)
    }
    assert offenders == set()


@pytest.mark.parametrize("module, register", [("KernelsAVX2", "%ymm"), ("KernelsAVX512", "%zmm")])
def test_kernels_use_the_registers_that_they_are_built_for(
    instructions: dict[str, list[tuple[str, str]]], module: str, register: str
) -> None:
    for kernel in ("pairwise", "ranking", "sumBlock", "gradientInSingle"):
        bodies = [body for name, body in instructions.items() if module in name and kernel in name]
        assert any(register in operands for body in bodies for _, operands in body), (module, kernel)


def test_kernels_of_avx_never_call_the_baseline(instructions: dict[str, list[tuple[str, str]]]) -> None:
    """Where the compiler leaves a call to a shared helper, it would run the code of the oldest machines."""
    slow = re.compile(r"Shared|fma_by_lane|<fmaf?@plt>")
    offenders = {
        (function, operands)
        for function, body in instructions.items()
        if module_of(function) != "elsewhere"
        for mnemonic, operands in body
        if mnemonic.startswith("call") and slow.search(operands)
    }
    assert offenders == set()
