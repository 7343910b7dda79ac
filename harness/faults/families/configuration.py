"""Configuration faults: a process of the target that runs with other settings than the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import psutil

from harness.endpoints import change_endpoint
from harness.errors import StackError
from harness.faults.base import FaultableTarget, Param, Undo
from harness.faults.catalogue import fault
from harness.faults.lives import LEAVING, LIFE, REPLICAS, Leaving, LifeFault
from harness.faults.undo import START_TIMEOUT_S, by_hand, carry_out, family_of, undo_action
from harness.ledger import ProcessMark
from harness.plan import PlannedFault
from harness.probes import refused
from harness.processes import Processes

UNDO_GRACE_S = 5.0


@fault(
    "config-drift",
    family="configuration",
    place="component",
    capability="process",
    many=True,
    layer=LIFE,
    params={
        "set": Param(
            "string", "settings of the target with their drifted values: `pool_size=1,pool_wait=30s`", required=True
        ),
        **REPLICAS,
        **LEAVING,
    },
)
class ConfigDrift(LifeFault):
    """A replica is restarted, politely, with other settings than the rest."""

    confirm_s = START_TIMEOUT_S

    @classmethod
    def refusal(cls, planned: PlannedFault, target: FaultableTarget) -> str:
        """Settings that the target does not have, and servers, which settings don't reach."""
        if target.component_protocol(planned.component) != "http":
            return f"`{planned.component}` is a server, and settings are for the target's own processes"
        try:
            for name, value in parse_settings(planned.params["set"]).items():
                target.check_setting(name, value)
        except ValueError as error:
            return f"`set`: {error}"
        return super().refusal(planned, target)

    def undo(self) -> Sequence[Undo]:
        """Restart whatever runs with other settings, politely as well."""
        return [step for name in self.names for step in (self._restart_as_it_was(name), *self.admit_undo(name))]

    def steps(self) -> None:
        """Out, and back with other settings."""
        self.leave(self.names, Leaving.of(self.planned.params))
        self.come_back(self.names, self._settings)

    def is_active(self) -> bool:
        """All of them run with the drifted settings and get connections."""
        return all(self._has_drifted(name) and self.is_back(name) for name in self.names)

    def prepare(self) -> None:
        """See that there is something to change."""
        for name in self.names:
            if not self._changed(name):
                raise StackError(f"{name} runs with `{self.planned.params['set']}` already")

    def _has_drifted(self, name: str) -> bool:
        drifted = self.stack.command(name, self._settings).environment
        return runs_with(self.stack.mark(name), {key: drifted[key] for key in self._changed(name)})

    @property
    def _settings(self) -> Mapping[str, str]:
        return parse_settings(self.planned.params["set"])

    def _changed(self, name: str) -> Mapping[str, str]:
        """The environment variables that drift, with their values before."""
        before = self.stack.command(name).environment
        drifted = self.stack.command(name, self._settings).environment
        return {key: before[key] for key in before if before[key] != drifted[key]}

    def _restart_as_it_was(self, name: str) -> Undo:
        return {
            "do": "restart-as-it-was",
            "environment": dict(self._changed(name)),
            "start": self.stack.start_undo(name),
            "control": self.stack.endpoints.control if name in self.stack.endpoints.names else "",
        }


def parse_settings(text: str) -> dict[str, str]:
    """`pool_size=1,pool_wait=30s` by name. Raises ValueError."""
    settings: dict[str, str] = {}
    for part in text.split(","):
        name, sign, value = (piece.strip() for piece in part.partition("="))
        if not (name and sign and value):
            raise ValueError(f"expected settings such as `pool_size=1,pool_wait=30s`, got `{text}`")
        if name in settings:
            raise ValueError(f"`{name}` is there twice")
        settings[name] = value
    return settings


def runs_with(mark: ProcessMark, environment: Mapping[str, str]) -> bool:
    """Whether a process and all its descendants were started with these environment variables."""
    family = family_of(mark)
    try:
        return bool(family) and all(environment.items() <= process.environ().items() for process in family)
    except psutil.NoSuchProcess:
        return False


@undo_action("restart-as-it-was", lambda step: by_hand(step["start"]))
def _restart_as_it_was(step: Mapping[str, Any], processes: Processes) -> None:
    name = step["start"]["command"]["name"]
    if processes.alive(name) and not runs_with(processes.mark(name), step["environment"]):
        if step["control"] and not refused(step["control"]):
            change_endpoint(step["control"], name, "withdraw")
        processes.stop(name, grace_s=0.0 if processes.conductor_is_gone else UNDO_GRACE_S)
    carry_out(step["start"], processes)
