"""A pair of arms prepared for the checks: their arrivals, counted per endpoint over common seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from harness.analysis.arrivals import Arrivals
from harness.analysis.cells import Pair, count_pairs
from harness.analysis.experiment import Experiment
from harness.analysis.seconds import Seconds, undisturbed


@dataclass(frozen=True, slots=True)
class Case:
    """What every check stands on. `paths` says of every endpoint whether it has a declared path to what was broken."""

    experiment: Experiment
    timeout_ns: int | None
    seconds: Seconds
    baseline: Arrivals
    fault: Arrivals
    pairs: Mapping[str, Pair]
    paths: Mapping[str, bool | None]

    @property
    def arms(self) -> tuple[str, str]:
        """The names of the baseline and of the fault arm; "" for one that the record does not have."""
        return self.experiment.baseline or "", self.experiment.fault or ""

    def count(self, baseline: Arrivals, fault: Arrivals) -> Mapping[str, Pair]:
        """Those arrivals counted over the case's seconds."""
        calm = undisturbed(self.seconds, self.experiment, "baseline", self.timeout_ns)
        before = undisturbed(self.seconds, self.experiment, "fault", self.timeout_ns)
        return count_pairs(baseline, fault, self.seconds, calm, before, self.timeout_ns)
