"""A PostgreSQL server and its standby: which of the two takes writes, whether the other follows, and how it is made to.

After a failover the old primary comes back as the standby of the new one, with a fresh copy of its data: what clients
have written since then stays, and they notice nothing. The original layout is a matter of the next arm's start.
"""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psycopg

from harness.errors import StackError
from harness.faults.base import Undo
from harness.faults.sql import connect, run, session_name
from harness.faults.undo import START_TIMEOUT_S, as_typed, undo_action
from harness.probes import refused, split, wait_for
from harness.processes import Command, Processes, tail
from harness.proxy.client import ToxiproxyClient

COPY_TIMEOUT_S = 20.0

_STREAMING = (
    "select exists (select from pg_stat_replication where application_name = 'standby' and state = 'streaming')"
)


def takes_writes(address: str) -> bool:
    """Whether a primary answers there."""
    return _answers(address, "select not pg_is_in_recovery()")


def is_standby(address: str) -> bool:
    """Whether a server answers there that follows another one."""
    return _answers(address, "select pg_is_in_recovery()")


def is_followed(address: str) -> bool:
    """Whether a primary answers there whose standby is connected."""
    return takes_writes(address) and _answers(address, _STREAMING)


def has_all_of(standby_address: str, address: str) -> bool:
    """Whether a standby shows everything that its primary had a moment ago."""
    try:
        with connect(address, session_name("look")) as session:
            ((position,),) = run(session, "select pg_current_wal_lsn()")
    except psycopg.OperationalError:
        return False
    return _answers(standby_address, f"select pg_last_wal_replay_lsn() >= '{position}'")


def copy_data(copy: Command, processes: Processes) -> None:
    """Fill a server's data folder anew by `copy`, a pg_basebackup into it. Raises StackError with its words."""
    for entry in _folder(copy).iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    process = processes.spawn(copy)
    try:
        code = process.wait(COPY_TIMEOUT_S)
    finally:
        processes.kill(copy.name)
    if code != 0:
        raise StackError(f"PostgreSQL's data could not be copied:\n{tail(Path(copy.log))}", remedy=f"see {copy.log}")


def restore_pair(
    server: Command, address: str, standby_address: str, copy: Command, api: str, proxies: Sequence[str]
) -> Undo:
    """Undo data: the clients' proxies lead to the one that takes writes, and the other one follows it.

    `server` at `address` is the one that may have died, `copy` makes it a copy of its standby.
    """
    return {
        "do": "restore-pair",
        "server": server.to_json(),
        "address": address,
        "standby_address": standby_address,
        "copy": copy.to_json(),
        "api": api,
        "proxies": list(proxies),
    }


def _by_hand(step: Mapping[str, Any]) -> str:
    """For when the standby has been promoted; else starting the server is all there is to do."""
    server, copy = Command.from_json(step["server"]), Command.from_json(step["copy"])
    body = shlex.quote('{"upstream": "%s"}' % step["standby_address"])  # noqa: UP031  braces are JSON's here
    return " && ".join(
        [
            *(f"curl -X POST -d {body} http://{step['api']}/proxies/{proxy}" for proxy in step["proxies"]),
            f"find {shlex.quote(str(_folder(copy)))} -mindepth 1 -delete",
            as_typed(copy),
            f"({as_typed(server)} >> {shlex.quote(server.log)} 2>&1 &)",
        ]
    )


@undo_action("restore-pair", _by_hand)
def _restore_pair(step: Mapping[str, Any], processes: Processes) -> None:
    server, address, standby_address = Command.from_json(step["server"]), step["address"], step["standby_address"]
    promoted = takes_writes(standby_address)
    for proxy in [] if refused(step["api"]) else step["proxies"]:  # they may have gone with the conductor
        ToxiproxyClient(*split(step["api"])).set_upstream(proxy, standby_address if promoted else address)
    if promoted and not is_standby(address):
        processes.stop(server.name)
        copy_data(Command.from_json(step["copy"]), processes)
    if refused(address):
        processes.stop(server.name)
        processes.spawn(server)
    expected = is_standby if promoted else takes_writes
    if not wait_for(lambda: expected(address), timeout_s=START_TIMEOUT_S):
        raise TimeoutError(f"{server.name} does not answer at {address} after {START_TIMEOUT_S:.0f} s")


def _folder(copy: Command) -> Path:
    return Path(copy.argv[copy.argv.index("-D") + 1])


def _answers(address: str, question: str) -> bool:
    try:
        with connect(address, session_name("look")) as session:
            return bool(run(session, question)[0][0])
    except psycopg.OperationalError:
        return False
