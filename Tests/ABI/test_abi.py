"""The interface may grow, and do nothing else that breaks a program."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEADER = (ROOT / "include" / "swiftdpo.h").read_text()


def check(header: str, folder: Path, *growth: Path) -> subprocess.CompletedProcess[str]:
    (folder / "swiftdpo.h").write_text(header)
    command: list[str | Path] = [ROOT / "tools/abi.sh", "check", folder / "swiftdpo.h", *growth]
    return subprocess.run(command, capture_output=True, text=True)


def changed(pattern: str, replacement: str) -> str:
    header, count = re.subn(pattern, replacement, HEADER, count=1, flags=re.DOTALL)
    assert count == 1
    return header


def test_this_header_is_compatible_with_the_released_one(tmp_path: Path) -> None:
    done = check(HEADER, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_released_interface_has_functions_and_types() -> None:
    released = (ROOT / "Tests/ABI/libswiftdpo.abi").read_text()
    functions = set(re.findall(r"<function-decl name='(\w+)'", released))
    assert functions >= {"swiftdpo_version", "swiftdpo_dpo_loss_f64", "swiftdpo_philox4x32_10"}
    assert "<class-decl name='swiftdpo_pairs_f64'" in released
    assert re.search(r"<enumerator name='SWIFTDPO_ERROR_LENGTH' value='64'/>", released)


def test_new_functions_and_enumerators_are_allowed(tmp_path: Path) -> None:
    header = changed(r"  SWIFTDPO_OK = 0,", "  SWIFTDPO_OK = 0, SWIFTDPO_ERROR_ANOTHER = 990,")
    header = header.replace(
        "int32_t swiftdpo_num_threads", "void swiftdpo_another(int x);\nint32_t swiftdpo_num_threads"
    )
    done = check(header, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_struct_that_is_said_to_have_grown_may_grow_at_its_end(tmp_path: Path) -> None:
    growth = tmp_path / "growth.suppr"
    growth.write_text("[suppress_type]\n  name = swiftdpo_dpo_options\n  has_data_member_inserted_at = end\n")
    grown = changed(r"(\} swiftdpo_dpo_options;)", r"  double another;\n\1")
    done = check(grown, tmp_path, growth)
    assert done.returncode == 0, done.stdout + done.stderr
    in_the_middle = changed(r"(  double label_smoothing;)", r"  double another;\n\1")
    assert check(in_the_middle, tmp_path, growth).returncode == 1
    another = changed(r"(\} swiftdpo_policy_options;)", r"  double another;\n\1")
    assert check(another, tmp_path, growth).returncode == 1


BREAKAGE = {
    "a function is gone": (r"int32_t swiftdpo_num_threads\(void\);", ""),
    "a function has another parameter": (
        r"swiftdpo_num_threads\(void\)",
        "swiftdpo_num_threads(int32_t node)",
    ),
    "a parameter has another type": (
        r"swiftdpo_set_num_threads\(int32_t",
        "swiftdpo_set_num_threads(int64_t",
    ),
    "a result has another type": (r"uint32_t swiftdpo_version\(", "uint64_t swiftdpo_version("),
    "a field in the middle": (r"(  double label_smoothing;)", r"  double another;\n\1"),
    "two fields change places": (
        r"  double beta;([^\n]*)\n  double label_smoothing;",
        r"  double label_smoothing;\1\n  double beta;",
    ),
    "a field has another type": (r"  size_t num_losses;", "  double num_losses;"),
    "a struct grows, and nobody said so": (r"(\} swiftdpo_dpo_options;)", r"  double another;\n\1"),
    "a field is gone": (r"  double alphapo_alpha;[^\n]*\n", ""),
    "an enumerator has another value": (r"SWIFTDPO_REDUCTION_SUM = 1,", "SWIFTDPO_REDUCTION_SUM = 5,"),
    "a struct without a size grows": (r"(\} swiftdpo_culprit;)", r"  size_t another;\n\1"),
}


@pytest.mark.parametrize("change", BREAKAGE.values(), ids=BREAKAGE.keys())
def test_breakage_is_not(change: tuple[str, str], tmp_path: Path) -> None:
    done = check(changed(*change), tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "would break" in done.stderr
