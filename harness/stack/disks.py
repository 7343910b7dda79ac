"""The disks that parts of a target have for themselves: in memory where that is allowed, else plain folders."""

from __future__ import annotations

import shutil
from pathlib import Path

from harness.clock import NS, now_ns
from harness.faults.disks import may_mount, mount, unmount
from harness.faults.restore import revert
from harness.ledger import Ledger, UndoMark
from harness.processes import Processes

# Longer than any run: these are taken away at its end, or by the guard when the conductor has died.
_KEPT_S = 7 * 24 * 3600


class Disks:
    """Disks by the name of the server or replica that has them."""

    def __init__(self, folder: Path, ledger: Ledger) -> None:
        self._folder = folder
        self._ledger = ledger
        self._folders: dict[str, Path] = {}
        self._mounted: list[UndoMark] = []

    def make(self, name: str, size: float, *, folder: str = "") -> None:
        """A disk of `size` bytes, in a folder below the run's own; its removal is in the ledger before it exists."""
        path = self._folder / (folder or f"disk-{name}")
        path.mkdir()
        self._folders[name] = path
        if may_mount():
            mark = UndoMark(f"disk:{name}", now_ns() + _KEPT_S * NS, (unmount(path),))
            self._ledger.undo(mark)
            self._mounted.append(mark)
            mount(path, size)

    def folder(self, name: str) -> Path:
        """Where a part finds its disk. Raises KeyError when it has none."""
        return self._folders[name]

    def empty(self, name: str) -> None:
        """Remove everything that is on a disk."""
        for entry in self._folders[name].iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()

    def remove(self, processes: Processes) -> None:
        """Take the disks away. Raises NotRevertedError."""
        while self._mounted:
            revert(self._mounted[-1], self._ledger, processes, by="conductor")
            self._mounted.pop()
