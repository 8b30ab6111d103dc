"""The package needs no framework."""

import subprocess
import sys

import pytest


def test_the_package_imports_no_framework() -> None:
    program = "import swiftdpo, sys; print(*{'torch', 'jax', 'trl', 'pyarrow'} & sys.modules.keys())"
    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == ""


@pytest.mark.parametrize(
    "module, framework, name",
    [("torch", "torch", "PyTorch"), ("jax", "jax", "JAX"), ("arrow", "pyarrow", "pyarrow")],
)
def test_without_the_framework_the_error_says_what_to_install(module: str, framework: str, name: str) -> None:
    program = f"import sys; sys.modules[{framework!r}] = None; import swiftdpo.{module}"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.returncode != 0
    assert f"swiftdpo.{module} needs {name}: pip install 'swiftdpo[{module}]'" in result.stderr
