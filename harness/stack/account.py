"""An unprivileged account for servers that refuse to run as root (PostgreSQL does)."""

from __future__ import annotations

import os
import pwd
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import StackError

CANDIDATES = ("nobody", "postgres", "daemon")


@dataclass(frozen=True, slots=True)
class Account:
    """Who such a server runs as; `name` is "" when we are an ordinary user and need no other."""

    name: str
    uid: int
    gid: int

    def own(self, folder: Path) -> None:
        """Make the account the owner of a folder."""
        if self.name:
            os.chown(folder, self.uid, self.gid)

    def can_reach(self, path: Path) -> bool:
        """Whether the account may enter every folder on the way to `path` and read it."""
        if not self.name:
            return True
        resolved = path.resolve()
        return all(self._may_enter(folder) for folder in (*resolved.parents, resolved))

    def _may_enter(self, folder: Path) -> bool:
        status = folder.stat()
        if status.st_uid == self.uid:
            return bool(status.st_mode & 0o100)
        if status.st_gid == self.gid:
            return bool(status.st_mode & 0o010)
        return bool(status.st_mode & 0o001)


def unprivileged() -> Account:
    """Ourselves when we are not root, else a system account that exists everywhere. Raises StackError without one."""
    if os.geteuid() != 0:
        return Account("", os.geteuid(), os.getegid())
    for name in CANDIDATES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return Account(name, entry.pw_uid, entry.pw_gid)
    raise StackError(
        f"PostgreSQL refuses to run as root, and none of the accounts {', '.join(CANDIDATES)} exists",
        remedy="run the harness as an ordinary user",
    )


def reachable_copy(site: Path, parts: Sequence[str], account: Account, folder: Path) -> Path:
    """`site` itself when the account can read it, else a copy in `folder` that holds only its `parts` (relative paths).

    An environment below a home directory that only its owner may enter is the usual case.
    """
    if account.can_reach(site):
        return site
    copy = folder / "site"
    for part in (part for part in parts if (site / part).is_dir()):
        shutil.copytree(site / part, copy / part, symlinks=True)
    return copy
