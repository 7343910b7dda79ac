"""A full disk under one table of PostgreSQL: a small disk in memory, mounted for the fault and filled."""

from __future__ import annotations

import os
import pwd
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from psycopg import errors

from harness.faults.base import FaultableTarget, Param, Undo
from harness.faults.disks import BALLAST, fill, may_mount, mount, unmount
from harness.faults.families.database import DatabaseFault, database_fault
from harness.faults.lives import LIFE
from harness.faults.sql import connect, psql, run, session_name, table_name
from harness.faults.timeline import FaultError
from harness.faults.undo import carry_out, undo_action
from harness.plan import PlannedFault
from harness.probes import refused
from harness.processes import Processes

SPACE = "harness_disk"
"""The tablespace on the small disk."""

MIB = 1 << 20
ROOM = 16 * MIB
MOST = 256 * MIB


@database_fault(
    "disk-full",
    layer="tables",
    excludes=(LIFE,),
    params={"table": Param("string", "the table whose disk is full: `shop.orders`", required=True)},
)
class DiskFull(DatabaseFault):
    """The disk under a table is full: it can't grow any more, while reads and everything else go on.

    The table is moved to a disk of its own, in memory and not much larger than itself, and the rest of that is filled.
    What still fits into the table's pages is written as before.
    """

    @classmethod
    def refusal(cls, planned: PlannedFault, target: FaultableTarget) -> str:
        """Only who may mount can make a disk that is small enough to be filled without harm."""
        if "standby" in target.capabilities(planned.component):
            return f"a standby on the same machine would fill the same disk: {planned.component} must have none"
        return "" if may_mount() else "only root can mount the small disk that it fills"

    def get_ready(self) -> None:
        """Connect, and see how large a disk it takes."""
        super().get_ready()
        self._folder = self.stack.scratch / f"{self.planned.id}-disk"
        self._mover = self._connect()
        self._table = table_name(self._mover, str(self.planned.params["table"]))
        ((size,),) = run(self._mover, "select pg_table_size(%s::regclass)", self._table)
        self._bytes = 2 * int(size) + ROOM
        if self._bytes > MOST:
            raise FaultError(
                f"{self._table} is too large ({int(size) // MIB} MiB) for a disk in memory",
                remedy=f"name a table of less than {(MOST - ROOM) // 2 // MIB} MiB",
            )

    def undo(self) -> Sequence[Undo]:
        """Empty the disk, move the table back, and unmount."""
        return [free_disk(self._address, self._client.database, self._table, self._folder)]

    def inject(self) -> None:
        """Mount, move the table, fill up."""
        account = self.stack.command(self.planned.component).account
        owner = pwd.getpwnam(account) if account else pwd.getpwuid(os.geteuid())
        self._folder.mkdir()
        mount(self._folder, self._bytes)
        space = self._folder / "space"
        space.mkdir(mode=0o700)
        os.chown(space, owner.pw_uid, owner.pw_gid)
        run(self._mover, "set lock_timeout = '5s'")
        run(self._mover, f"create tablespace {SPACE} location '{space}'")
        run(self._mover, f"alter table {self._table} set tablespace {SPACE}")
        fill(self._folder)

    def halt(self) -> None:
        """Move nothing more."""
        self._mover.close()

    def _is_there(self) -> bool:
        """Another table on that disk can't have a row."""
        if not run(self._look, "select 1 from pg_tablespace where spcname = %s", SPACE):
            return False
        try:
            with self._look.transaction(force_rollback=True):
                run(self._look, f"create table harness_look tablespace {SPACE} as select 1 as one")
        except errors.DiskFull:
            return True
        return False


def free_disk(address: str, database: str, table: str, folder: Path) -> Undo:
    """Undo data: take the small disk away, with the table back where it was."""
    return {"do": "free-disk", "address": address, "database": database, "table": table, "folder": str(folder)}


def _statements(step: Mapping[str, Any]) -> tuple[str, str]:
    return (
        f"alter table if exists {step['table']} set tablespace pg_default",
        f"drop tablespace if exists {SPACE}",
    )


def _by_hand(step: Mapping[str, Any]) -> str:
    folder = shlex.quote(step["folder"])
    moved = psql(step["address"], step["database"], *_statements(step))
    return f"rm -f {folder}/{BALLAST} && {moved} && umount {folder}"


@undo_action("free-disk", _by_hand)
def _free_disk(step: Mapping[str, Any], processes: Processes) -> None:
    folder = Path(step["folder"])
    (folder / BALLAST).unlink(missing_ok=True)
    if not refused(step["address"]):  # a server that has gone needs its table no more
        with connect(step["address"], session_name("undo"), database=step["database"]) as session:
            run(session, "set lock_timeout = '5s'")
            for statement in _statements(step):
                run(session, statement)
    carry_out(unmount(folder), processes)
    if folder.is_dir():
        folder.rmdir()
