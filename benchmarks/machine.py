"""What a figure was measured on: processor, memory, versions."""

import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any

PEERS = ["numpy", "torch", "trl", "liger-kernel", "jax", "choix", "scipy-openblas32"]


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


def describe() -> dict[str, Any]:
    import swiftdpo

    build = swiftdpo.build_info()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": processor(),
        "processors": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory / 2**30),
        "system": f"{platform.system()} {platform.machine()}",
        "instruction_set": build.instruction_set,
        "versions": {"python": platform.python_version(), "swiftdpo": build.version}
        | {name: found for name in PEERS if (found := version(name))},
        "load_average": round(os.getloadavg()[0], 1),
    }


def sentence(measured_on: dict[str, Any]) -> str:
    """Without the versions."""
    return (
        f"{measured_on['processor']}, {measured_on['processors']} processors, "
        f"{measured_on['memory_gib']} GiB, {measured_on['system']}, {measured_on['instruction_set']}; "
        f"load average {measured_on['load_average']} at the start"
    )


def pin(threads: int) -> None:
    """For libraries that take a thread for each processor that the process may use, as JAX does."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
