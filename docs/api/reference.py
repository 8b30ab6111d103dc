"""Python's reference into build/docs/python; then: does it, and C's, have every function and public name?

Called by `make docs`, after doxygen.
"""

import importlib
import os
import re
import sys
import warnings
from pathlib import Path

import pdoc

ROOT = Path(__file__).resolve().parents[2]
PAGES = ROOT / "build" / "docs"
MODULES = [
    "swiftdpo",
    "swiftdpo.torch",
    "swiftdpo.torch.liger",
    "swiftdpo.torch.reductions",
    "swiftdpo.torch.vocab_parallel",
    "swiftdpo.jax",
    "swiftdpo.trl",
    "swiftdpo.arrow",
]

os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"

c_pages = "".join(page.read_text() for page in (PAGES / "c").glob("group__*.html"))
functions = re.findall(
    r"^ *(swiftdpo_\w+);", (ROOT / "Sources/SwiftDPO/exports.map").read_text(), re.MULTILINE
)
missing = [name for name in functions if not re.search(rf'class="memname".*?\b{name}\b', c_pages)]

names = 0
for name in MODULES:
    module = importlib.import_module(name)
    public = set(getattr(module, "__all__", ())) - {"__version__"}
    # What a module imports when it is asked for, pdoc does not ask for.
    vars(module).update({each: getattr(module, each) for each in public})
    names += len(public)

warnings.simplefilter("error")
pdoc.render.configure(docformat="numpy", search=False)
pdoc.pdoc(*MODULES, output_directory=PAGES / "python")
for name in MODULES:
    page = (PAGES / "python" / f"{name.replace('.', '/')}.html").read_text()
    public = set(getattr(sys.modules[name], "__all__", ())) - {"__version__"}
    missing += [f"{name}.{each}" for each in sorted(public) if f'id="{each}"' not in page]

if missing:
    sys.exit(f"The reference lacks {', '.join(missing)}")
print(f"{len(functions)} functions of C, {names} names of Python")
