"""What a plan can tell before it is run: the smallest effect that would be found, and what can't be decided at all.

One pair of arms decides with the interval of its own run; repeated pairs decide by how they agree, where what differs
between runs counts as well. Numbers come from earlier runs of the scenario, else from the defaults below.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy import special

from harness.analysis.family import ALPHA as ALPHA_OF_ONE
from harness.analysis.history import History, Known
from harness.analysis.over_pairs import ALPHA as ALPHA_OF_PAIRS
from harness.analysis.recovery import needed_s as needed_stretch_s
from harness.analysis.table import FEWEST_FOR_P999
from harness.expectations import Expectation, parse
from harness.plan import Plan
from harness.scenario.hysteresis import RETURN, SHED
from harness.stats.logbins import fewest_for
from harness.stats.noise import ASSUMED_WANDER
from harness.stats.paired import detectable
from harness.stats.proportions import newcombe

POWERS = (0.8, 0.9)
DEFAULT_ERRORS = 0.0
DEFAULT_ERRORS_BETWEEN = 0.001
DEFAULT_BETWEEN = 0.05
DEFAULT_DESIGN_EFFECT = 2.0
DEFAULT_LOG_SD = 0.5
_FREEDOM = 20
_SHORTEST_CALM_S = 15.0
_FEW_EVENTS = 10
_METASTABLE_S = 20.0
_LONGEST_FACTOR = 50


@dataclass(frozen=True, slots=True)
class Power:
    """What the plan can tell about one expectation.

    `found`: for each power of `POWERS` the true value (in `unit`, of the expectation's own difference) from which the
    run fails with that probability; None where there is no number. `arrivals` in each arm's fault window. `warning`:
    why the expectation can't be decided and what would do, else "".
    """

    expectation: str
    unit: str
    found: tuple[float | None, ...]
    arrivals: int | None
    warning: str


@dataclass(frozen=True, slots=True)
class Foresight:
    """The power of a plan, expectation by expectation, and where its numbers come from. `warnings` are of the plan."""

    powers: tuple[Power, ...]
    basis: str
    warnings: tuple[str, ...]


def foresee(plan: Plan, history: History, endpoints: Sequence[str]) -> Foresight:
    """The power of the plan; `endpoints` are those that the target declares."""
    pairs = len({arm.pair for arm in plan.arms if arm.kind == "fault"} & _baselines(plan))
    expectations = [parse(text) for text in plan.expect]
    looks = sum(one.form in ("change", "limit") for one in expectations)
    view = _View(plan, history, max(1, len(endpoints)), pairs, max(1, looks))
    powers = tuple(_power(text, one, view) for text, one in zip(plan.expect, expectations, strict=True))
    return Foresight(powers, _basis(history, pairs), tuple(_warnings(view)))


@dataclass(frozen=True, slots=True)
class _View:
    """The plan in the numbers that matter here: `looks` expectations on numbers, `pairs` pairs of arms."""

    plan: Plan
    history: History
    endpoints: int
    pairs: int
    looks: int

    @property
    def window_s(self) -> tuple[float, float]:
        return min(fault.at_s for fault in self.plan.faults), max(fault.end_s for fault in self.plan.faults)

    @property
    def length_s(self) -> float:
        start, end = self.window_s
        return end - start

    @property
    def end_s(self) -> float:
        """The end of what is compared: the arm's, or where its load is shed on purpose."""
        return max(phase.end_s for phase in self.plan.phases if phase.name not in (SHED, RETURN))

    @property
    def calm_s(self) -> float:
        """Undisturbed seconds: the baseline arm after its warm-up, and the fault arm up to the injection."""
        warm_up_s = self.plan.phases[0].end_s
        return (self.end_s - warm_up_s) + max(0.0, self.window_s[0] - self.plan.load.timeout_s - warm_up_s)

    def arrivals(self, endpoint: str) -> int | None:
        """Expected arrivals in the fault window of an arm; None in the closed model."""
        if self.plan.load.model == "closed":
            return None
        known = self.history.known.get((endpoint, "error-rate"))
        share = 1.0 if not endpoint else known.share if known is not None else 1 / self.endpoints
        return round(self.plan.load.expected(*self.window_s) * share)

    def reach(
        self,
        own: float,
        between: float,
        power: float,
        *,
        passing: bool,
        at_bound: float | None = None,
        few: bool = False,
    ) -> float:
        """How far from the margin the truth must be to be told from it.

        `own`: the standard error of a pair by itself where the truth is, `at_bound` at the margin. `between`: how much
        runs differ. A pass needs no correction for the number of looks, a failure does. `few` events: the normal law.
        """
        looks = 1 if passing else self.looks
        if self.pairs >= 2:
            return detectable(math.hypot(own, math.sqrt(2) * between), self.pairs, power, ALPHA_OF_PAIRS / looks)
        level = 1 - ALPHA_OF_ONE / looks
        critical = float(special.ndtri(level) if few else special.stdtrit(_FREEDOM, level))
        return critical * (own if at_bound is None else at_bound) + float(special.ndtri(power)) * own


def _baselines(plan: Plan) -> set[int]:
    return {arm.pair for arm in plan.arms if arm.kind == "baseline"}


def _basis(history: History, pairs: int) -> str:
    between = f"runs differ by {DEFAULT_BETWEEN:.0%} ({DEFAULT_ERRORS_BETWEEN:.1%} of errors)" if pairs > 1 else ""
    if history.runs:
        noun = "run" if history.runs == 1 else "runs"
        rest = f"; with fewer than three: {between}" if between and history.runs < 3 else ""
        return f"from {history.runs} earlier {noun} of this scenario{rest}"
    assumed = ["no errors", "each endpoint an equal share", f"design effect {DEFAULT_DESIGN_EFFECT:g}"]
    return f"no earlier run; assumed: {', '.join([*assumed, between] if between else assumed)}"


def _warnings(view: _View) -> list[str]:
    found = []
    if view.pairs == 0:
        found.append("there is no pair of a baseline and a fault arm, so nothing is compared")
    elif view.calm_s < _SHORTEST_CALM_S:
        found.append(
            f"only {view.calm_s:g} undisturbed seconds in both arms: too few to know how much the system wanders by "
            f"itself; phases {math.ceil((_SHORTEST_CALM_S - view.calm_s) / 2)} s longer before the fault would do"
        )
    if view.plan.load.model == "closed":
        found.append("how many requests a closed model sends is not known before, so no power can be stated")
    return found


def _power(text: str, expectation: Expectation, view: _View) -> Power:
    if expectation.form in ("count", "audit"):  # what is counted needs no power
        return Power(text, "", (None, None), None, "")
    if expectation.form in ("recovery", "cascade"):
        return Power(text, "", (None, None), None, _watched_too_short(expectation, view))
    n = view.arrivals(expectation.endpoint)
    if n is None or view.pairs == 0:
        return Power(text, expectation.unit, (None, None), n, "")
    if n < 2:
        return Power(text, expectation.unit, (None, None), n, f"{n} arrivals are expected while the fault is on")
    if expectation.quantile is None:
        return _share_power(text, expectation, view, n)
    return _quantile_power(text, expectation, view, n)


def _watched_too_short(expectation: Expectation, view: _View) -> str:
    after_s = view.end_s - view.window_s[1]
    if expectation.form == "recovery":
        watched_s = max(0, math.floor(after_s - view.plan.load.timeout_s))
        needed_s = (expectation.bound or 0.0) + needed_stretch_s(watched_s) + view.plan.load.timeout_s
        what = f"a recovery that takes {expectation.bound:g} s can only be seen in {needed_s:g} s"
    else:
        needed_s, what = (
            _METASTABLE_S,
            f"damage that stays can only be told from slow recovery after {_METASTABLE_S:g} s",
        )
    if after_s >= needed_s:
        return ""
    return (
        f"{after_s:g} s are watched after the fault, {what}; a recovery phase {needed_s - after_s:g} s longer would do"
    )


def _share_power(text: str, expectation: Expectation, view: _View, n: int) -> Power:
    """Error rates and goodput, in points of share; goodput is told relative to what is good usually."""
    known = view.history.known.get((expectation.endpoint, "error-rate"))
    usual = known.value if known is not None else DEFAULT_ERRORS
    chance = usual * (1 - usual)
    effect = max(1.0, known.spread**2 / chance) if known is not None and chance > 0 else DEFAULT_DESIGN_EFFECT
    few = usual * n < _FEW_EVENTS
    between = known.between if known is not None and known.between is not None else DEFAULT_ERRORS_BETWEEN
    relative = 1 - usual if expectation.metric == "goodput" else 1.0
    limit = expectation.form == "limit"
    bound = (expectation.bound or 0.0) * relative - (usual if limit else 0.0)
    arms = 0.0 if limit else chance

    def error(share: float) -> float:
        # Of few events nothing is known; the verdict then takes a level that wanders a little, and so does this.
        wander = 1 + ASSUMED_WANDER * n / view.length_s * share * (1 - share) if few else effect
        return math.sqrt(wander * (share * (1 - share) + arms) / n)

    def found(power: float) -> float | None:
        at = bound
        for _ in range(60):
            own = error(min(0.5, max(usual, usual + at)))
            at_bound = error(min(0.5, max(usual, usual + bound)))
            at = bound + view.reach(own, between, power, passing=False, at_bound=at_bound, few=few)
        value = at + (usual if limit else 0.0)
        return value / relative * 100 if value < 1 else None

    values = tuple(found(power) for power in POWERS)
    if _passes(usual, n, effect, bound, between, view):
        return Power(text, expectation.unit, values, n, "")
    longer = next((k for k in range(2, _LONGEST_FACTOR) if _passes(usual, n * k, effect, bound, between, view)), None)
    return Power(text, expectation.unit, values, n, _too_few(n, longer, view))


def _passes(usual: float, n: int, effect: float, bound: float, between: float, view: _View) -> bool:
    """Whether four runs of five would pass with nothing wrong: the interval of a rather unlucky run is within."""
    if usual * n < _FEW_EVENTS:
        effect = 1.0
    unlucky = usual + float(special.ndtri(POWERS[0])) * math.sqrt(effect * usual * (1 - usual) / n)
    effective = n * max(1, view.pairs) / effect
    one_run = newcombe(unlucky * effective, effective, usual * effective, effective)
    if one_run.high >= bound:
        return False
    own = math.sqrt(2 * effect * usual * (1 - usual) / n)
    return view.pairs < 2 or view.reach(own, between, POWERS[0], passing=True) < bound


def _quantile_power(text: str, expectation: Expectation, view: _View, n: int) -> Power:
    """Quantiles, on the logarithmic scale; milliseconds need to know the usual value."""
    level = expectation.quantile or 0.5
    known = view.history.known.get((expectation.endpoint, expectation.metric))
    spread = known.spread if known is not None else _default_spread(level)
    between = known.between if known is not None and known.between is not None else DEFAULT_BETWEEN
    arms = 1 if expectation.form == "limit" else 2
    margin = _log_margin(expectation, known)
    fewest = FEWEST_FOR_P999 if level >= 0.999 else math.ceil(fewest_for(level) * DEFAULT_DESIGN_EFFECT)
    if n * max(1, view.pairs) < fewest:
        return Power(text, expectation.unit, (None, None), n, _too_few(n, math.ceil(fewest / n), view))
    if margin is None:
        return Power(text, expectation.unit, (None, None), n, "")

    def reach(n: int, power: float, *, passing: bool) -> float:
        return view.reach(spread * math.sqrt(arms / n), between, power, passing=passing)

    values = tuple(_in_unit(margin + reach(n, power, passing=False), expectation, known) for power in POWERS)
    room = (
        margin
        if expectation.form == "change"
        else math.log((expectation.margin or 1.0) / known.value)
        if known
        else None
    )
    if room is None or reach(n, POWERS[0], passing=True) < room:
        return Power(text, expectation.unit, values, n, "")
    longer = next((k for k in range(2, _LONGEST_FACTOR) if reach(n * k, POWERS[0], passing=True) < room), None)
    return Power(text, expectation.unit, values, n, _too_few(n, longer, view))


def _default_spread(level: float) -> float:
    """Of a log-normal response time with a log-sd of 0.5."""
    z = float(special.ndtri(level))
    density = math.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    return DEFAULT_LOG_SD * math.sqrt(DEFAULT_DESIGN_EFFECT * level * (1 - level)) / density


def _log_margin(expectation: Expectation, known: Known | None) -> float | None:
    """The margin as a logarithm of ratios: to the baseline's value, or for a limit to the limit itself."""
    if expectation.form == "limit":
        return 0.0
    if expectation.unit == "%":
        return math.log1p(expectation.bound or 0.0)
    return math.log1p((expectation.margin or 0.0) / known.value) if known is not None and known.value > 0 else None


def _in_unit(log_ratio: float, expectation: Expectation, known: Known | None) -> float | None:
    if not math.isfinite(log_ratio) or log_ratio > 50:
        return None
    if expectation.form == "limit":
        return (expectation.margin or 0.0) * math.exp(log_ratio)
    scale = 100.0 if expectation.unit == "%" else known.value if known is not None else math.nan
    return math.expm1(log_ratio) * scale


def _too_few(n: int, factor: int | None, view: _View) -> str:
    """The warning that the expectation can hardly pass, and what would do."""
    what = f"with {n} arrivals while the fault is on it would seldom pass even with nothing wrong"
    if factor is not None:
        return f"{what}; a fault of about {math.ceil(view.length_s * factor):g} s or {factor} times the load would do"
    more = "; more pairs would do (--repeat 5)" if 1 < view.pairs < 5 else "; a wider margin would do"
    return what + more
