"""The verdict: what verdict.json holds, and what every report is drawn from."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from harness.exits import Exit

Outcome = Literal["pass", "fail", "inconclusive", "invalid", "aborted"]
CascadeClass = Literal["none", "contained", "cascading", "metastable", "unknown"]
OnsetKind = Literal["errors", "slow", "waiting", "full"]
Hysteresis = Literal["", "not tested", "confirmed", "stuck", "undecided"]
CLASSES: tuple[CascadeClass, ...] = ("none", "contained", "cascading", "metastable", "unknown")
VERDICT_VERSION = 1


@dataclass(frozen=True, slots=True)
class Interval:
    """A two-sided 95 % interval; a bound is None where it does not exist."""

    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """One expectation held against the record.

    `expectation` is the scenario's own words. `endpoint` is "" for all endpoints together. `metric` is `error-rate`,
    `p50`..`p99.9`, `goodput`, `failures`, `recovery`, `cascade` or `audit`. `unit` is that of `difference`, `interval`
    and `margin` (`pp`, `%`, `ms`, `s`, `1/s`, or "" for words and counts). `phase` says which seconds were compared.
    `why` is one sentence. `interval` has the two-sided `confidence`. `p_adjusted`: how likely so much beyond the margin
    would be if the truth were just at it, for all expectations of the run together; None where there is no number.
    """

    expectation: str
    endpoint: str
    metric: str
    phase: str
    baseline: float | None
    fault: float | None
    difference: float | None
    interval: Interval
    unit: str
    margin: float | None
    p_adjusted: float | None
    outcome: Outcome
    why: str
    n_baseline: int
    n_fault: int
    confidence: float = 0.95


@dataclass(frozen=True, slots=True)
class Composite:
    """The primary test of a run: did anything that the scenario bounds go beyond its margin?

    `p` is that of all the `expectations` together (max-T, Westfall and Young), one-sided, to be held against `alpha`;
    None when none of them gave a number. `faults` are those whose window was compared. `p_sign_flips`: the same from
    exact sign flips over pairs of runs, which assume no distribution; None with fewer than five pairs.
    """

    faults: tuple[str, ...]
    expectations: tuple[str, ...]
    p: float | None
    alpha: float
    method: str
    p_sign_flips: float | None = None


@dataclass(frozen=True, slots=True)
class Contrast:
    """One row of the full table: an endpoint ("" for all), a metric, some seconds of both arms, and how they differ.

    `phase`: `fault`, `after`, or `phase:NAME` for a phase of the scenario. `difference` and `interval` (95 %) are in
    `unit`: `pp` for the error rate, `%` of the baseline for everything else (None when that is zero). `p` is two-sided,
    for no difference at all. `p_adjusted`: Holm, over the rows of `fault` and `after`.
    `q_exploratory`: Benjamini-Hochberg over the whole table, for looking around only. `enough`: whether there are the
    fewest effective observations for a statement; without them the p-values are None.
    """

    endpoint: str
    metric: str
    phase: str
    baseline: float | None
    fault: float | None
    difference: float | None
    interval: Interval
    unit: str
    p: float | None
    p_adjusted: float | None
    q_exploratory: float | None
    n_baseline: int
    n_fault: int
    enough: bool


@dataclass(frozen=True, slots=True)
class Distribution:
    """The response times of an endpoint ("" for all) as a whole, in the seconds of the fault.

    `ks`: largest difference of the distribution functions. `wasserstein_ms`: how far an answer moved on average. Their
    p-values come from swapping `blocks` blocks of `block_s` seconds between the arms, unadjusted: exploratory.
    """

    endpoint: str
    ks: float
    ks_p: float | None
    wasserstein_ms: float
    wasserstein_p: float | None
    blocks: int
    block_s: int


@dataclass(frozen=True, slots=True)
class Usual:
    """What a metric is without the fault, for planning the next run: the baseline arm after its warm-up.

    `share`: of all arrivals. `value`: a share, or ms. `spread`: standard error of the value times the root of the
    number of arrivals, dependence included; in points of share, or for quantiles relative to the value.
    """

    endpoint: str
    metric: str
    share: float
    value: float
    spread: float
    design_effect: float


@dataclass(frozen=True, slots=True)
class PairSummary:
    """One pair of arms of a repeated run. `used`: whether the verdict stands on it, `why` not.

    `differences` maps an expectation to what this pair alone measured, in the comparison's unit, for looking.
    """

    baseline: str
    fault: str
    used: bool
    why: str
    klass: CascadeClass
    recovered: bool | None
    recovery_s: float | None
    differences: dict[str, float | None]


@dataclass(frozen=True, slots=True)
class Repeats:
    """What repeated pairs say together: the run is the unit. `classes` counts the class of every pair that was used."""

    pairs: tuple[PairSummary, ...]
    used: int
    classes: dict[str, int]
    sentence: str


@dataclass(frozen=True, slots=True)
class LoadAndFault:
    """What load and fault do only together, beyond the sum of each alone (2x2), in the seconds of the fault.

    `value` in points (`scale` `pp`) or as a natural logarithm of ratios (`log`); the four cells are means over runs.
    `interval` (95 %) and `p` are None with one run per cell; `freedom` is that of the standard error.
    """

    endpoint: str
    metric: str
    scale: str
    neither: float
    load_only: float
    fault_only: float
    both: float
    value: float
    interval: Interval
    p: float | None
    freedom: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """One criterion of the cascade classification: met, not met, or None when it can't be judged.

    `criterion` is `C1`..`C6`, `share` (more failed than was touched), or `load` for harm that the load did without any
    fault.
    """

    criterion: str
    met: bool | None
    text: str
    endpoint: str = ""
    value: float | None = None
    interval: Interval = Interval(None, None)


@dataclass(frozen=True, slots=True)
class Onset:
    """When a series first left its baseline, in seconds since the arm's start, with its uncertainty.

    `kind`: requests fail or are slow, wait for something, or a resource is full. `resolved` is False when the interval
    is wider than 10 s: then it has no place in the order.
    """

    series: str
    t_s: float
    interval: Interval
    kind: OnsetKind = "errors"
    resolved: bool = True


@dataclass(frozen=True, slots=True)
class Step:
    """A step of the propagation path: the series `before` left its baseline before `after`, with that probability."""

    before: str
    after: str
    probability: float


@dataclass(frozen=True, slots=True)
class Factor:
    """Attempts that reached a tier per arrival, in both arms, and how many `times` more with the fault.

    `caller` is `client` or a component; `endpoint` is "" for a tier's own count, `tier` is "" for the clients' requests
    to an endpoint. `phase` is `fault` or `after`. `ceiling`: what all retries on the way allow at most.
    """

    caller: str
    tier: str
    endpoint: str
    phase: str
    baseline: float
    fault: float
    times: float
    interval: Interval
    ceiling: float | None


@dataclass(frozen=True, slots=True)
class Cascade:
    """How far the damage went and whether it stayed.

    `factors`: how much retries multiplied the load. `chain`: what filled up, and then failed, by the names of their
    onsets in order of time. `path`: which onset came before which, where that is sure. `hysteresis`, of a failure that
    outlived its fault: `confirmed` when shedding all load ended it, `stuck` when not even that did, `not tested`, or
    `undecided`; "" for other classes.
    """

    klass: CascadeClass
    sentence: str
    evidence: tuple[Evidence, ...]
    onsets: tuple[Onset, ...]
    factors: tuple[Factor, ...] = ()
    chain: tuple[str, ...] = ()
    path: tuple[Step, ...] = ()
    hysteresis: Hysteresis = ""


@dataclass(frozen=True, slots=True)
class Recovery:
    """Time from `fault.clear` to the first ten good seconds in a row; censored when it was not seen to recover.

    `seconds` is then the time that was watched (a lower bound). `per_endpoint` maps endpoint to its own time or None.
    `interval` is of `seconds`; without an upper bound when the end may not have been seen.
    """

    recovered: bool | None
    seconds: float | None
    censored: bool
    per_endpoint: dict[str, float | None]
    interval: Interval = Interval(None, None)


@dataclass(frozen=True, slots=True)
class EndpointImpact:
    """How much of one endpoint was hit, from the fault's confirmed injection on: a description, not a test.

    `share`: of the arrivals of the worst second, those that failed or were slow beyond what the baseline arm's same
    second explains. `seconds`: how many seconds were hit in all; `until_s`: from the injection to the end of the last
    of them. `failed`: how many arrivals failed beyond the baseline arm's.
    """

    share: float
    seconds: float
    until_s: float
    failed: int


@dataclass(frozen=True, slots=True)
class Impact(EndpointImpact):
    """The same for all endpoints together, where a second is hit when one of them is."""

    per_endpoint: dict[str, EndpointImpact]


@dataclass(frozen=True, slots=True)
class EndpointSummary:
    """One row of the per-endpoint table, fault window against the same seconds of the baseline.

    Rates are shares (0..1), response times in milliseconds over successes and failures alike, attempts per arrival.
    """

    endpoint: str
    declared_path: bool | None
    arrivals_baseline: int
    arrivals_fault: int
    error_rate_baseline: float | None
    error_rate_fault: float | None
    error_rate_after: float | None
    p50_baseline_ms: float | None
    p50_fault_ms: float | None
    p95_baseline_ms: float | None
    p95_fault_ms: float | None
    p99_baseline_ms: float | None
    p99_fault_ms: float | None
    attempts_per_arrival_baseline: float | None
    attempts_per_arrival_fault: float | None
    errors_fault: dict[str, int]


@dataclass(frozen=True, slots=True)
class Failures:
    """Requests of an endpoint ("" for all) from the fault's beginning to the end of the arm, and how many failed.

    The baseline arm's are those of the same seconds. The last attempt decides. What was in flight when the fault's
    action began counts; nothing is estimated.
    """

    endpoint: str
    arrivals_baseline: int
    failed_baseline: int
    arrivals_fault: int
    failed_fault: int


@dataclass(frozen=True, slots=True)
class FaultTimes:
    """When a fault really happened in an arm, in seconds since the arm's start; None for what was not seen.

    Its action began at `started_s`, `late_ms` after the planned instant. Its effect was seen at `active_s`,
    `active_after_ms` later. It began to be taken back at `asked_s`, and was seen to be gone `clear_after_ms` later.
    """

    arm: str
    fault: str
    planned_s: float | None
    started_s: float
    late_ms: float | None
    active_s: float | None
    active_after_ms: float | None
    asked_s: float | None
    clear_s: float | None
    clear_after_ms: float | None


@dataclass(frozen=True, slots=True)
class Stop:
    """The abort condition that ended a run: `reason`, in its arm at `at_s`.

    Every fault that was on was seen to be gone `back_after_s` later; None when one was not.
    """

    arm: str
    at_s: float
    reason: str
    back_after_s: float | None


@dataclass(frozen=True, slots=True)
class AuditedWrite:
    """A write that was not there exactly once: its name, when a client was first told of it, `what` it was."""

    key: str
    acknowledged_s: float
    what: Literal["missing", "doubled"]


@dataclass(frozen=True, slots=True)
class AuditedArm:
    """What was found of the writes that were acknowledged in an arm; `writes` lists the first hundred that went wrong.

    `unacknowledged`: writes that are there though no client was told so (it got an error, or had left); None when
    nobody counted. `problem`: why nothing was found out, else "".
    """

    arm: str
    acknowledged: int
    missing: int
    doubled: int
    unacknowledged: int | None
    problem: str
    writes: tuple[AuditedWrite, ...]


@dataclass(frozen=True, slots=True)
class Validity:
    """Whether the run says anything about the system; the reasons say why it does not."""

    valid: bool
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a run showed. The same record gives the same verdict, to the last digit."""

    run_id: str
    scenario: str
    variant: str
    hypothesis: str
    outcome: Outcome
    exit_code: Exit
    sentence: str
    cascade: Cascade
    comparisons: tuple[Comparison, ...]
    recovery: Recovery
    endpoints: tuple[EndpointSummary, ...]
    validity: Validity
    composite: Composite | None = None
    table: tuple[Contrast, ...] = ()
    distributions: tuple[Distribution, ...] = ()
    usual: tuple[Usual, ...] = ()
    repeats: Repeats | None = None
    load_and_fault: tuple[LoadAndFault, ...] = ()
    failures: tuple[Failures, ...] = ()
    fault_times: tuple[FaultTimes, ...] = ()
    stop: Stop | None = None
    impact: Impact | None = None
    audit: tuple[AuditedArm, ...] = ()
    version: int = VERDICT_VERSION

    def to_json(self) -> dict[str, Any]:
        """JSON-ready data; `cascade.klass` is written as `class`, `exit_code` as its number."""
        data = dataclasses.asdict(self)
        data["exit_code"] = int(self.exit_code)
        data["cascade"]["class"] = data["cascade"].pop("klass")
        return data


def write(verdict: Verdict, path: Path) -> None:
    """Write verdict.json: sorted keys, shortest floats, no NaN, so that equal verdicts are equal files."""
    text = json.dumps(verdict.to_json(), indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")
