"""Database faults that act through sessions: PostgreSQL is alive, and has no connection or lock to give."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial

import psycopg
from psycopg import errors

from harness.faults.base import Fault, FaultableStack, Param, Undo
from harness.faults.catalogue import fault
from harness.faults.course import Course
from harness.faults.lives import LIFE
from harness.faults.sql import (
    SUPERUSER,
    Session,
    client_of,
    clients,
    connect,
    end_sessions,
    execute,
    run,
    session_name,
    table_name,
)
from harness.faults.timeline import FaultError
from harness.plan import PlannedFault
from harness.probes import refused

database_fault = partial(
    fault, family="database", place="component", default_place="postgres", capability="process", protocol="postgres"
)
"""`fault` for what acts on a PostgreSQL server."""

KEEP_S = 0.1
MARGIN_S = 10.0
"""How much longer than its fault a session may live before the server itself ends it."""


class DatabaseFault(Fault):
    """What these faults share: who the target is on the server, and a session to look with."""

    confirm_s = 10.0
    looks_as_target = False
    limits_superusers = True
    _look: Session

    def __init__(self, planned: PlannedFault, stack: FaultableStack) -> None:
        super().__init__(planned, stack)
        self._address = stack.address(planned.component)
        self._name = session_name(planned.id)
        self._sessions = ExitStack()

    def prepare(self) -> None:
        """Connect, and find out who and what there is."""
        try:
            self.get_ready()
        except Exception:
            self._sessions.close()
            raise

    def get_ready(self) -> None:
        """What `prepare` is to do; when it raises, nothing stays connected."""
        with connect(self._address, session_name(self.planned.id, "look")) as session:
            self._client = client_of(session)
        if self._client.superuser and not self.limits_superusers:
            raise FaultError(
                f"the target is the superuser `{self._client.role}` of {self.planned.component}, for whom this fault "
                "does not hold",
                remedy="let it log in as a role of its own that is no superuser",
            )
        self._look = self._connect("look", as_target=self.looks_as_target)

    def is_active(self) -> bool:
        """Whether the effect can be seen now."""
        return self._is_there()

    def is_clear(self) -> bool:
        """Whether the effect is gone, as a new session sees it, or the server with it."""
        self._look.close()
        if not refused(self._address):
            self._look = self._connect("look", as_target=self.looks_as_target)
            if self._is_there():
                return False
        self._sessions.close()
        return True

    @abstractmethod
    def _is_there(self) -> bool:
        """Whether `_look` sees the effect now. Raises psycopg.OperationalError when the server can't be asked."""

    def _connect(self, part: str = "", *, as_target: bool = False) -> Session:
        session = connect(
            self._address,
            session_name(self.planned.id, part),
            database=self._client.database,
            role=self._client.role if as_target else SUPERUSER,
            lasts_s=self.planned.for_s + MARGIN_S,
        )
        self._sessions.callback(session.close)
        return session


@database_fault(
    "pool-exhaustion",
    layer="connections",
    excludes=(LIFE,),
    params={
        "leave": Param("integer", "connections left for everybody else together", default=0, least=0, most=1000),
        "sessions": Param(
            "choice",
            "what becomes of the sessions that are there: `end` closes all but `leave` of them, so that the target "
            "has to connect anew; `keep` lets it go on with what it has, and only new ones are refused",
            default="end",
            choices=("end", "keep"),
        ),
    },
)
class PoolExhaustion(DatabaseFault):
    """PostgreSQL's connections are taken: a new client is told that there are too many."""

    limits_superusers = False

    def get_ready(self) -> None:
        """Connect, and find out how many connections PostgreSQL gives to ordinary roles."""
        super().get_ready()
        self._held: list[Session] = []
        self._leave = int(self.planned.params["leave"])
        self._ends = self.planned.params["sessions"] == "end"
        limits = "'max_connections', 'superuser_reserved_connections', 'reserved_connections'"
        found = {
            name: int(value)
            for name, value in run(self._look, f"select name, setting from pg_settings where name in ({limits})")
        }
        self._limit = 2 * found["max_connections"] - sum(found.values())
        self._course = Course(self._keep)

    def undo(self) -> Sequence[Undo]:
        """End the sessions that hold the connections."""
        return [end_sessions(self._address, self._name)]

    def inject(self) -> None:
        """Take what is free, then what the target has, without giving it a chance in between.

        Superusers have connections in reserve: one of these is taken before a session of the target's is ended.
        """
        self._hold(self._free() - self._left())
        for pid in clients(self._look)[self._leave :] if self._ends else []:
            self._hold(1)
            run(self._look, "select pg_terminate_backend(%s, 1000)", pid)
        self._course.start()

    def halt(self) -> None:
        """Take no more, and give the connections back."""
        self._course.halt()
        for session in self._held:
            session.close()

    def _is_there(self) -> bool:
        free = self._free()
        return free <= self._left() and (free > 0 or self._is_refused())

    def _keep(self) -> None:
        """Take what others give back, until our sessions are ended: by the undo, which may be the guard's."""
        statement = "select count(*) from pg_stat_activity where application_name = %s"
        while run(self._look, statement, self._name)[0][0] >= len(self._held):
            self._hold(self._free() - self._left())
            self._course.wait(KEEP_S)

    def _free(self) -> int:
        """Connections that ordinary roles could still have."""
        statement = "select count(*) from pg_stat_activity where backend_type = 'client backend'"
        return self._limit - int(run(self._look, statement)[0][0])

    def _left(self) -> int:
        """How many of them may be free: `leave`, less what the target holds on to where its sessions are ended."""
        return max(0, self._leave - len(clients(self._look))) if self._ends else self._leave

    def _hold(self, count: int) -> None:
        """Take so many more; what others have taken meanwhile is not taken from the superusers' reserve for long."""
        try:
            for _ in range(count):
                self._held.append(self._connect())
        except psycopg.OperationalError as error:
            if not _is_full(error):
                raise
            for _ in range(min(-self._free(), len(self._held))):
                self._held.pop().close()

    def _is_refused(self) -> bool:
        try:
            self._connect("client", as_target=True).close()
        except psycopg.OperationalError as error:
            return _is_full(error)
        return False


def _is_full(error: psycopg.OperationalError) -> bool:
    """Whether the server refused a connection because it has no more."""
    return "too many clients" in str(error) or "remaining connection slots" in str(error)


@database_fault(
    "kill-connections",
    layer="sessions",
    excludes=(LIFE,),
    momentary=True,
    params={"every": Param("duration", "do it again and again at this pace, until the end", least=0.05)},
)
class KillConnections(DatabaseFault):
    """PostgreSQL ends every session of its clients, as after an administrator's command."""

    def get_ready(self) -> None:
        """Connect."""
        super().get_ready()
        self._killer = self._connect()
        self._course = Course(self._go_on)

    def undo(self) -> Sequence[Undo]:
        """End the session that ends the others."""
        return [end_sessions(self._address, self._name)]

    def inject(self) -> None:
        """End them all, for the first time."""
        self._victims = set(clients(self._killer))
        self._kill()
        if self.planned.params["every"]:
            self._course.start()

    def halt(self) -> None:
        """Stop."""
        self._course.halt()
        self._killer.close()

    def _is_there(self) -> bool:
        """The sessions that were there are gone; when it is over, no session of ours is left to end others."""
        if self._killer.closed:
            return bool(run(self._look, "select 1 from pg_stat_activity where application_name = %s", self._name))
        return not self._victims & set(clients(self._look))

    def _go_on(self) -> None:
        while True:
            self._course.wait(float(self.planned.params["every"]))
            try:
                self._kill()
            except psycopg.OperationalError:  # our session was ended: by the undo, which may be the guard's
                return

    def _kill(self) -> None:
        for pid in clients(self._killer):
            run(self._killer, "select pg_terminate_backend(%s)", pid)


LOCK_MODES = {
    "access-exclusive": ("access exclusive", "access share"),
    "exclusive": ("exclusive", "row exclusive"),
    "share": ("share", "row exclusive"),
}
"""Mode -> as PostgreSQL says it, and the mildest mode that has to wait for it."""


@database_fault(
    "lock",
    layer="tables",
    excludes=(LIFE,),
    params={
        "table": Param("string", "the table, with its schema if it is not `public`: `shop.orders`", required=True),
        "mode": Param(
            "choice",
            "of the lock on the whole table: `access-exclusive` makes reads and writes wait, as a migration does; "
            "`exclusive` writes and `select for update`; `share` writes, as building an index does",
            default="access-exclusive",
            choices=tuple(LOCK_MODES),
        ),
        "rows": Param(
            "string", "lock for update only the rows that meet this SQL condition, such as `id < 10`", default=""
        ),
    },
)
class Lock(DatabaseFault):
    """A transaction that does not end holds a lock on a table, or on some of its rows."""

    def get_ready(self) -> None:
        """Connect, and find the table."""
        super().get_ready()
        self._table = table_name(self._look, str(self.planned.params["table"]))
        self._holder = self._connect()
        run(self._look, "set lock_timeout = '1s'")

    def undo(self) -> Sequence[Undo]:
        """End the session that holds the lock."""
        return [end_sessions(self._address, self._name)]

    def inject(self) -> None:
        """Open a transaction and take the lock, waiting for those who have it now."""
        run(self._holder, f"set lock_timeout = {round(self.confirm_s * 1000)}")
        run(self._holder, "begin")
        mode = LOCK_MODES[self.planned.params["mode"]][0]
        if not self.planned.params["rows"]:
            run(self._holder, f"lock table {self._table} in {mode} mode")
        elif not run(self._holder, self._rows("")):
            raise FaultError(f"no row of {self._table} meets `{self.planned.params['rows']}`: nothing was locked")

    def halt(self) -> None:
        """Let go."""
        self._holder.close()

    def _is_there(self) -> bool:
        """A statement that would have to wait is told so."""
        weaker = LOCK_MODES[self.planned.params["mode"]][1]
        attempt = f"lock table {self._table} in {weaker} mode nowait"
        try:
            with self._look.transaction(force_rollback=True):
                run(self._look, self._rows("nowait") if self.planned.params["rows"] else attempt)
        except errors.LockNotAvailable:
            return True
        return False

    def _rows(self, how: str) -> str:
        return f"select 1 from {self._table} where {self.planned.params['rows']} for update {how}"


@database_fault(
    "read-only",
    layer="writes",
    excludes=(LIFE,),
)
class ReadOnly(DatabaseFault):
    """PostgreSQL refuses every write, in open sessions too; reads go on."""

    looks_as_target = True

    def get_ready(self) -> None:
        """Connect."""
        super().get_ready()
        self._setter = self._connect()

    def undo(self) -> Sequence[Undo]:
        """Take the setting back."""
        reset = "alter system reset default_transaction_read_only"
        return [execute(self._address, "postgres", reset, "select pg_reload_conf()")]

    def inject(self) -> None:
        """Make read-only the default of every transaction."""
        run(self._setter, "alter system set default_transaction_read_only = on")
        run(self._setter, "select pg_reload_conf()")
        self._setter.close()

    def _is_there(self) -> bool:
        """A session that was open before can't make a table."""
        try:
            with self._look.transaction(force_rollback=True):
                run(self._look, "create temporary table harness_look ()")
        except errors.ReadOnlySqlTransaction:
            return True
        return False
