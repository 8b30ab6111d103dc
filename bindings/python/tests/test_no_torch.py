"""The package needs no framework."""

import subprocess
import sys


def test_the_package_imports_no_framework() -> None:
    program = "import swiftdpo, sys; print(*{'torch', 'jax', 'trl', 'pyarrow'} & sys.modules.keys())"
    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == ""


def test_without_pytorch_the_error_says_what_to_install() -> None:
    program = "import sys; sys.modules['torch'] = None; import swiftdpo.torch"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.returncode != 0
    assert "swiftdpo.torch needs PyTorch: pip install 'swiftdpo[torch]'" in result.stderr
