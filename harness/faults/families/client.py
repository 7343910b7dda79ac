"""Client faults: how those who send the load behave when something fails."""

from __future__ import annotations

from collections.abc import Sequence

from harness.clock import NS
from harness.errors import nearest
from harness.faults.base import ClientFault, FaultableStack, FaultableTarget, Param, Undo
from harness.faults.catalogue import fault
from harness.faults.course import Course
from harness.plan import RETRY_STORM, PlannedFault, RetryStorm


@fault(
    RETRY_STORM,
    family="client",
    place="clients",
    params={
        "retries": Param("integer", "how often a failed request is sent again", default=3, least=1, most=20),
        "endpoints": Param("string", "whose requests, `checkout, catalog`; all when it is left out"),
    },
)
class ImpatientClients(ClientFault):
    """Clients send what fails again at once, without waiting and without a budget, whatever the scenario says."""

    def __init__(self, planned: PlannedFault, stack: FaultableStack) -> None:
        super().__init__(planned, stack)
        self._course = Course(self._watch)
        self._before = (0, 0)

    @classmethod
    def refusal(cls, planned: PlannedFault, target: FaultableTarget) -> str:
        """An endpoint that there is not."""
        unknown = [name for name in _endpoints(planned) if name not in target.endpoints]
        return f"the target has no endpoint `{unknown[0]}`; {nearest(unknown[0], target.endpoints)}" if unknown else ""

    def prepare(self) -> None:
        """Tell the load workers when to begin and end: then they do both at the instant by their own clocks."""
        planned = self.planned
        storm = RetryStorm(
            round(planned.at_s * NS), round(planned.end_s * NS), int(planned.params["retries"]), _endpoints(planned)
        )
        self.clients.begin_storm(planned.id, storm)

    def undo(self) -> Sequence[Undo]:
        """Nothing that others could do: it ends at its time, and load workers end with the conductor."""
        return []

    def inject(self) -> None:
        """The clients begin by themselves; look out for the first retries."""
        report = self.clients.storm_report()
        self._before = report.failed, report.retries
        self._course.start()

    def halt(self) -> None:
        """Have the clients forget it, and tell what it came to."""
        self.clients.end_storm(self.planned.id)
        self._course.halt()
        self._tell("clients had retried at once")

    def is_active(self) -> bool:
        """Every load worker says that its clients retry at once whatever fails."""
        return self.clients.storm_report().everywhere

    def is_clear(self) -> bool:
        """No load worker says so any more."""
        return not self.clients.storm_report().anywhere

    def _watch(self) -> None:
        self._course.wait_until(lambda: self._since()[1] > 0)
        self._tell("clients retry at once")

    def _since(self) -> tuple[int, int]:
        """Arrivals that have failed at first and retries, since this storm began."""
        report = self.clients.storm_report()
        return report.failed - self._before[0], report.retries - self._before[1]

    def _tell(self, text: str) -> None:
        failed, retries = self._since()
        if failed > 0:
            attempts = round(1 + retries / failed, 3)
            fields = {"failed_arrivals": failed, "attempts_per_failed_arrival": attempts}
            self.tell("probe", self.planned.component, text=text, **fields)


def _endpoints(planned: PlannedFault) -> tuple[str, ...]:
    return tuple(name.strip() for name in (planned.params["endpoints"] or "").split(",") if name.strip())
