"""What a figure was measured on: processor, memory, versions."""

import importlib.metadata
import os
import platform
from pathlib import Path

PEERS = ["torch", "trl", "liger-kernel", "jax", "choix", "numpy", "scipy", "scipy-openblas32"]


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def describe() -> dict[str, object]:
    import swiftdpo

    build = swiftdpo.build_info()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": processor(),
        "processors": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory / 2**30, 1),
        "system": f"{platform.system()} {platform.release().split('-')[0]} {platform.machine()}",
        "python": platform.python_version(),
        "swiftdpo": f"{build.version} ({build.instruction_set})",
        "load_average": round(os.getloadavg()[0], 2),
        "versions": {name: found for name in PEERS if (found := version(name))},
    }
