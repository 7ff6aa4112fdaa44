"""What ran the benchmark: processor, cores, memory, versions."""

import os
import platform
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import jax

PACKAGES = ("truncax", "jax", "jaxlib", "numpy", "scipy", "matfree", "torch", "primme", "scikit-learn")
THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "XLA_FLAGS")


def describe():
    """Names and plain strings, in the order in which they are shown."""
    facts = {
        "date": date.today().isoformat(),
        "processor": processor(),
        "cores": str(cores()),
        "memory": memory(),
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "device": f"{jax.devices()[0].platform}, {jax.devices()[0].device_kind}",
        "versions": ", ".join(f"{name} {found}" for name in PACKAGES if (found := installed(name))),
        "environment": ", ".join(f"{name}={os.environ[name]}" for name in THREADS if name in os.environ) or "as it is",
    }
    if hasattr(os, "getloadavg"):
        facts["load at the start"] = (
            f"{os.getloadavg()[0]:.1f} (1 minute; much above 0: other work disturbed the times)"
        )
    return facts


def cores():
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def installed(name):
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def processor():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def memory():
    try:
        return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB"
    except (AttributeError, ValueError, OSError):
        return "unknown"
