"""Uses the installed wheel: exercise.py ROOT. Called by tools/check-wheel.sh in an environment of its own."""

import contextlib
import importlib.metadata
import io
import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import swiftdpo

root = Path(sys.argv[1])


def of(page: Path, language: str) -> str:
    block = re.search(rf"^## From Python$.*?^```{language}\n(.*?)^```$", page.read_text(), re.M | re.S)
    assert block is not None, language
    return block[1]


# Package and library are the installed ones. The environment has no Swift, and NumPy is all that was needed.
package = Path(swiftdpo.__file__).parent
assert Path(sys.prefix) in package.parents and root not in package.parents
maps = Path("/proc/self/maps").read_text().splitlines()
libraries = {line.split()[-1] for line in maps if "libswiftdpo" in line}
assert len(libraries) == 1 and package.parent in Path(*libraries).parents, libraries
assert shutil.which("swift") is None and "libswiftCore" not in " ".join(maps)
assert {d.name for d in importlib.metadata.distributions()} <= {"swiftdpo", "numpy", "pip", "setuptools"}
assert swiftdpo.__version__ == importlib.metadata.version("swiftdpo")

# The README's loop prints what the README says.
with contextlib.redirect_stdout(io.StringIO()) as printed:
    exec(compile(of(root / "README.md", "python"), "README.md", "exec"), {})
assert printed.getvalue() == of(root / "README.md", "text")

# The worths of the NASCAR season are the published ones, to their eight decimals.
season, published = (
    json.loads((root / f"examples/data/{name}.json").read_text())
    for name in ("nascar2002", "nascar2002_published")
)
hopeful = sorted({driver for race in season["races"] for driver in race[:-1]})
races = [[hopeful.index(driver) for driver in race if driver in hopeful] for race in season["races"]]
fit = swiftdpo.fit_plackett_luce(races, len(hopeful), tolerance=1e-10)
worths = np.exp(fit.log_worths) / np.exp(fit.log_worths).sum()
known = np.array([published["worths"][season["drivers"][driver]] for driver in hopeful])
assert np.abs(worths - known).max() < 5.01e-9

# A refusal is an exception with its facts.
refused = ""
try:
    swiftdpo.dpo_loss([0.0, np.nan], [0.0, 0.0], None, None)
except ValueError as refusal:
    refused = str(refusal)
assert "policy_chosen_logps" in refused

print(f"{swiftdpo.build_info()} in Python {sys.version.split()[0]} with NumPy {np.__version__}")
