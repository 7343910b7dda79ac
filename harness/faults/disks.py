"""Small disks in memory: what is filled must be bounded, or it would be the machine's disk that is full."""

from __future__ import annotations

import errno
import os
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.errors import StackError
from harness.faults.base import Undo
from harness.faults.undo import undo_action
from harness.processes import Processes

BALLAST = "harness-ballast"
COMMAND_TIMEOUT_S = 10.0
_CHUNK = 1 << 20
_CAP_SYS_ADMIN = 1 << 21


def may_mount() -> bool:
    """Whether the kernel lets us mount a disk: root may, unless it was taken from it."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    held = next(int(line.split()[1], 16) for line in status.splitlines() if line.startswith("CapEff"))
    return bool(held & _CAP_SYS_ADMIN)


def mount(folder: Path, size: float) -> None:
    """Put a disk of `size` bytes in memory on an existing folder. Raises StackError."""
    options = f"size={size:.0f},mode=0755,nosuid,nodev,noexec"
    argv = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, check=False)
    if done.returncode:
        raise StackError(f"{shlex.join(argv)}: {done.stderr.strip()}", remedy="leave `disk` out of the manifest")


def unmount(folder: Path) -> Undo:
    """Undo data: take a disk away with what is on it, also when somebody still has files open there."""
    return {"do": "unmount", "folder": str(folder)}


@undo_action("unmount", lambda step: f"umount --lazy {shlex.quote(step['folder'])}")
def _unmount(step: Mapping[str, Any], _processes: Processes) -> None:
    if Path(step["folder"]).is_mount():
        argv = ["umount", "--lazy", step["folder"]]
        subprocess.run(argv, capture_output=True, timeout=COMMAND_TIMEOUT_S, check=True)


def room(folder: Path) -> int:
    """Bytes that can still be written to the disk that a folder is on."""
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize


def fill(folder: Path, leave: float = 0.0) -> None:
    """Write until only `leave` bytes are left. Raises StackError unless the folder is a disk by itself."""
    if not folder.is_mount():
        raise StackError(f"{folder} is not a disk of its own: it must not be filled")
    with (folder / BALLAST).open("wb", buffering=0) as out:
        chunk = bytes(_CHUNK)
        while chunk and room(folder) > leave:
            try:
                out.write(chunk[: max(1, int(room(folder) - leave))])
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                chunk = chunk[: len(chunk) // 2]


def remove_ballast(folder: Path) -> Undo:
    """Undo data: give the room back that `fill` took."""
    return {"do": "remove-ballast", "folder": str(folder)}


@undo_action("remove-ballast", lambda step: f"rm -f {shlex.quote(step['folder'] + '/' + BALLAST)}")
def _remove_ballast(step: Mapping[str, Any], _processes: Processes) -> None:
    (Path(step["folder"]) / BALLAST).unlink(missing_ok=True)
