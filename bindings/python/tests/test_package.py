"""The installed package: its library, its stable ABI, its types and its documentation."""

import doctest
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest
import swiftdpo
import swiftdpo.divergences
import swiftdpo.dpo
import swiftdpo.enumeration
import swiftdpo.listwise
import swiftdpo.logps
import swiftdpo.partition
import swiftdpo.policies
import swiftdpo.policy_samples
import swiftdpo.rankings
import swiftdpo.shards

TESTS = Path(__file__).resolve().parent
ROOT = TESTS.parents[2]
HEADER = ROOT / "include" / "swiftdpo.h"
EXPORTS = ROOT / "Sources" / "SwiftDPO" / "exports.map"
PACKAGE = Path(swiftdpo.__file__).parent


def test_version_is_the_header_s():
    numbers = re.findall(r"^#define SWIFTDPO_VERSION_(?:MAJOR|MINOR|PATCH) (\d+)$", HEADER.read_text(), re.M)
    assert swiftdpo.__version__ == ".".join(numbers)
    assert importlib.metadata.version("swiftdpo") == swiftdpo.__version__


def test_build_info():
    info = swiftdpo.build_info()
    assert info.version == swiftdpo.__version__
    assert info.compiler.startswith("Swift")
    assert info.instruction_set in {"baseline", "avx2", "avx512", "neon"}
    assert info.num_threads == swiftdpo.num_threads() >= 1


def test_the_library_is_the_one_beside_the_extension():
    loaded = {
        line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines() if "libswiftdpo" in line
    }
    assert loaded == {str(library.resolve()) for library in PACKAGE.glob("libswiftdpo.so.*")}


def import_over_another_library(folder, version, abi):
    """Imports a copy of the package whose library has nothing but version numbers."""
    shutil.copytree(PACKAGE, folder / "swiftdpo")
    [library] = (folder / "swiftdpo").glob("libswiftdpo.so.*")
    numbers = {"swiftdpo_version": version, "swiftdpo_abi_version": abi}
    source = folder / "library.c"
    names = set(re.findall(r"\b(swiftdpo_\w+)\(", HEADER.read_text()))
    source.write_text("".join(f"int {name}(void) {{ return {numbers.get(name, 0)}; }}\n" for name in names))
    command = [*sysconfig.get_config_var("CC").split(), "-shared", "-fPIC", source, "-o", library]
    subprocess.run([*command, f"-Wl,-soname,{library.name},--version-script,{EXPORTS}"], check=True)
    environment = os.environ | {"PYTHONPATH": str(folder)}
    script = [sys.executable, "-c", "import swiftdpo"]
    return subprocess.run(script, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize(("version", "abi"), [(990099, 0), (100, 7), (0, 0)])
def test_a_library_of_another_version_is_refused(tmp_path, version, abi):
    run = import_over_another_library(tmp_path, version, abi)
    assert run.returncode != 0
    assert "ImportError: swiftdpo was compiled against version 100 (ABI 0)" in run.stderr
    assert f"the loader found version {version} (ABI {abi})" in run.stderr


def test_a_library_of_the_same_version_is_taken(tmp_path):
    run = import_over_another_library(tmp_path, 100, 0)
    assert run.returncode == 0, run.stderr


def test_the_import_brings_nothing_but_numpy():
    script = "import sys; before = set(sys.modules); import swiftdpo; print(*set(sys.modules) - before)"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    brought = {name.split(".")[0] for name in run.stdout.split()}
    assert brought - sys.stdlib_module_names == {"swiftdpo", "numpy"}


@pytest.mark.parametrize(
    "module",
    [
        swiftdpo.divergences,
        swiftdpo.dpo,
        swiftdpo.enumeration,
        swiftdpo.listwise,
        swiftdpo.logps,
        swiftdpo.partition,
        swiftdpo.policies,
        swiftdpo.policy_samples,
        swiftdpo.rankings,
        swiftdpo.shards,
    ],
    ids=lambda module: module.__name__,
)
def test_examples_in_docstrings(module):
    failed, tried = doctest.testmod(module)
    assert tried > 0
    assert failed == 0


def test_every_public_name_is_documented():
    for name in set(swiftdpo.__all__) - {"__version__"}:
        assert getattr(swiftdpo, name).__doc__, name


def test_the_readme_s_program():
    [program] = re.findall(r"```python\n(.*?)```", (TESTS.parent / "README.md").read_text(), re.S)
    names = {}
    exec(program, names)
    assert names["grad_logits"] is names["logits"]
    assert np.isfinite(names["out"].loss)


def check_types(*command):
    # Outside the source tree, so that the checker sees the installed package.
    run = subprocess.run([sys.executable, "-m", *command], cwd="/", capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


def test_types_of_a_program_that_uses_the_package(tmp_path):
    check_types("mypy", "--strict", "--cache-dir", str(tmp_path), str(TESTS / "typed_program.py"))


def test_types_of_the_package_itself(tmp_path):
    # The project's own settings say which frameworks may be missing.
    settings = str(TESTS.parents[2] / "mypy.ini")
    check_types("mypy", "--config-file", settings, "--cache-dir", str(tmp_path), "--package", "swiftdpo")


def test_stubs_match_the_extension():
    check_types("mypy.stubtest", "swiftdpo._core", "swiftdpo._xla")
