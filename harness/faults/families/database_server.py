"""Database faults that hit the server itself: it crashes, is replaced by its standby, or its standby falls behind."""

from __future__ import annotations

from collections.abc import Sequence

import psutil

from harness.faults.base import Fault, FaultableStack, Param, Undo
from harness.faults.course import Course
from harness.faults.families.database import database_fault
from harness.faults.lives import LIFE
from harness.faults.replication import is_followed, is_standby, restore_pair, takes_writes
from harness.faults.sql import connect, execute, run, session_name
from harness.faults.timeline import FaultError
from harness.plan import PlannedFault
from harness.probes import refused, split, wait_for
from harness.proxy.client import ToxiproxyClient

MARKER = "select pg_logical_emit_message(true, 'harness', '')"
"""A transaction that changes nothing and is replicated all the same."""


def crash(stack: FaultableStack, name: str) -> None:
    """SIGKILL to every process of a server at once: nothing is written, sent or said any more."""
    backends = psutil.Process(stack.mark(name).pid).children(recursive=True)
    stack.kill(name)
    for backend in backends:
        try:
            backend.kill()
        except psutil.NoSuchProcess:
            continue


@database_fault(
    "primary-crash",
    layer=LIFE,
)
class PrimaryCrash(Fault):
    """PostgreSQL crashes (SIGKILL to all its processes); at the end it is started again and recovers from its log.

    Committed transactions survive: with `fsync` off they would not survive the crash of the whole machine.
    """

    takes_out = True

    clear_s = 30.0

    def prepare(self) -> None:
        """Raise FaultError when another one is the primary: a failover came before."""
        if not takes_writes(self.stack.address(self.planned.component)):
            raise FaultError(f"{self.planned.component} is not the primary any more")

    def undo(self) -> Sequence[Undo]:
        """Start it again at its old address."""
        return [self.stack.start_undo(self.planned.component)]

    def inject(self) -> None:
        """Kill the server and its backends."""
        crash(self.stack, self.planned.component)
        self.tell("component.stopped", self.planned.component)

    def is_active(self) -> bool:
        """Nothing listens at its address any more."""
        return refused(self.stack.address(self.planned.component))

    def is_clear(self) -> bool:
        """It has recovered, and takes writes."""
        return takes_writes(self.stack.address(self.planned.component))


class StandbyFault(Fault):
    """What faults with a standby share."""

    def __init__(self, planned: PlannedFault, stack: FaultableStack) -> None:
        super().__init__(planned, stack)
        self._server = planned.component
        self._standby = stack.standby(planned.component)
        self._address = stack.address(self._server)
        self._standby_address = stack.address(self._standby.name)

    def check_pair(self) -> None:
        """Raise FaultError unless the standby follows."""
        if not (is_followed(self._address) and is_standby(self._standby_address)):
            raise FaultError(f"{self._standby.name} does not follow {self._server}")


@database_fault(
    "failover",
    capability="standby",
    layer=LIFE,
    params={
        "promote-after": Param(
            "duration",
            "how long it takes until the outage is noticed, the standby promoted and its clients sent there",
            default=2.0,
            least=0,
            most=300,
        )
    },
)
class Failover(StandbyFault):
    """The primary crashes for good, and after a while its standby takes its place; the old primary then follows it.

    What was committed and had not reached the standby is lost with the machine; with `standby: synchronous` nothing is
    acknowledged before.
    """

    takes_out = True

    clear_s = 30.0

    def prepare(self) -> None:
        """Connect to the standby, which has to follow."""
        self.check_pair()
        self._promoter = connect(self._standby_address, session_name(self.planned.id))
        self._link = self.stack.edge(f"{self._standby.name}->{self._server}")
        self._edges = [edge for edge in self.stack.edges if edge.destination == self._server and edge != self._link]
        self._api = ToxiproxyClient(*split(self.stack.proxy_api))
        self._course = Course(self._take_over)

    def undo(self) -> Sequence[Undo]:
        """Whoever takes writes keeps the clients, and the other one follows."""
        server, copy = self.stack.command(self._server), self._standby.copy
        proxies = [edge.proxy for edge in self._edges]
        return [restore_pair(server, self._address, self._standby_address, copy, self.stack.proxy_api, proxies)]

    def inject(self) -> None:
        """Kill the primary, with what is on its way to the standby; what follows takes its time."""
        crash(self.stack, self._server)
        self._api.drop_connections(self._link.proxy)
        self.tell("component.stopped", self._server)
        self._course.start()

    def halt(self) -> None:
        """Promote no more."""
        self._course.halt()
        self._promoter.close()

    def is_active(self) -> bool:
        """The primary is gone."""
        return refused(self._address)

    def is_clear(self) -> bool:
        """One of the two takes writes, through every proxy, and the other one follows it."""
        followed = is_followed(self._address) or is_followed(self._standby_address)
        return followed and all(takes_writes(edge.address) for edge in self._edges)

    def _take_over(self) -> None:
        self._course.wait(float(self.planned.params["promote-after"]))
        run(self._promoter, "select pg_promote(true, 10)")
        for edge in self._edges:
            self._api.set_upstream(edge.proxy, self._standby_address)
        self.tell("component.started", self._standby.name)


@database_fault(
    "replica-lag",
    capability="standby",
    layer="replication",
    excludes=(LIFE,),
    params={
        "lag": Param(
            "duration", "the standby shows each change this much later; absent: none at all until the end", least=0.1
        )
    },
)
class ReplicaLag(StandbyFault):
    """The standby receives everything and shows it late: who reads from it reads old data."""

    def prepare(self) -> None:
        """Connect to both."""
        self.check_pair()
        self._primary = connect(self._address, session_name(self.planned.id))
        self._replica = connect(self._standby_address, session_name(self.planned.id))

    def undo(self) -> Sequence[Undo]:
        """Let the standby catch up."""
        return [
            execute(
                self._standby_address,
                "postgres",
                "alter system reset recovery_min_apply_delay",
                "select pg_reload_conf()",
                "select pg_wal_replay_resume() where pg_is_in_recovery()",
            )
        ]

    def inject(self) -> None:
        """Delay what the standby applies, or pause it."""
        if self.planned.params["lag"] is None:
            run(self._replica, "select pg_wal_replay_pause()")
            return
        delay_ms = round(float(self.planned.params["lag"]) * 1000)
        run(self._replica, f"alter system set recovery_min_apply_delay = {delay_ms}")
        run(self._replica, "select pg_reload_conf()")

    def is_active(self) -> bool:
        """The standby has received a transaction and does not show it."""
        position = self._commit()
        if not wait_for(lambda: self._has("receive", position), timeout_s=1.0, every_s=0.005):
            return False
        return not self._has("replay", position)

    def is_clear(self) -> bool:
        """A transaction is shown at once."""
        position = self._commit()
        if not wait_for(lambda: self._has("replay", position), timeout_s=0.5):
            return False
        self._primary.close()
        self._replica.close()
        return True

    def _commit(self) -> str:
        """Commit a transaction; returns where the log ends then."""
        run(self._primary, MARKER)
        return str(run(self._primary, "select pg_current_wal_lsn()")[0][0])

    def _has(self, what: str, position: str) -> bool:
        return bool(run(self._replica, f"select pg_last_wal_{what}_lsn() >= %s::pg_lsn", position)[0][0])
