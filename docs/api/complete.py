"""Does the reference have every function of C and every public name of Python? Called by `make docs`."""

import re
import sys
from pathlib import Path

import swiftdpo

ROOT = Path(__file__).resolve().parents[2]
PAGES = ROOT / "build" / "docs"

c_pages = "".join(page.read_text() for page in (PAGES / "c").glob("group__*.html"))
python_page = (PAGES / "python" / "swiftdpo.html").read_text()
functions = re.findall(
    r"^ *(swiftdpo_\w+);", (ROOT / "Sources/SwiftDPO/exports.map").read_text(), re.MULTILINE
)
names = set(swiftdpo.__all__) - {"__version__"}

missing = [name for name in functions if not re.search(rf'class="memname".*?\b{name}\b', c_pages)]
missing += [name for name in sorted(names) if f'id="{name}"' not in python_page]
if missing:
    sys.exit(f"The reference lacks {', '.join(missing)}")
print(f"{len(functions)} functions of C, {len(names)} names of Python")
