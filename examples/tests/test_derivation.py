"""The derivation page: every claim of it holds, and one that didn't would be noticed."""

import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).resolve().parents[1] / "derivation.py"


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *command], capture_output=True, text=True)


def test_every_claim_holds(tmp_path):
    done = run(str(PAGE), "--output", str(tmp_path / "plot.png"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAIL" not in done.stdout and done.stdout.count("  ok  ") == 21
    assert (tmp_path / "plot.png").stat().st_size > 10_000


def test_a_claim_that_fails_is_an_exit_status(tmp_path):
    """A library that computes preferences of a different sign fails the page."""
    script = (
        "import sys, swiftdpo; right = swiftdpo.preference_probability;"
        "swiftdpo.preference_probability = lambda a, b: right(b, a);"
        f"sys.argv = ['derivation', '--output', {str(tmp_path / 'plot.png')!r}];"
        f"sys.path.insert(0, {str(PAGE.parent)!r}); import derivation; sys.exit(derivation.main())"
    )
    done = run("-c", script)
    assert done.returncode == 1 and "FAIL" in done.stdout
