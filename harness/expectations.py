"""The grammar of `expect` and `abort-when`: one sentence each, read the same by the scenario and by the analysis.

    expectation = change | limit | "recovers within" DURATION | "no cascade" | "cascade is" CLASS
                | "no acknowledged write is lost or doubled"
    abort       = metric [of] ( "<" | ">" ) bound "for" DURATION
    change      = "error-rate" [of] "increases by <" POINTS
                | quantile [of] "increases by <" ( PERCENTAGE | DURATION )
                | "goodput" [of] "decreases by <" PERCENTAGE
    limit       = "error-rate" [of] "<" PERCENTAGE
                | quantile [of] "<" DURATION
                | "failures" [of] "<" COUNT
    of          = "of" ["successes of"] ENDPOINT                ("successes of" only with a quantile)
    quantile    = "p" NUMBER                                     (p50, p95, p99.9: above 0 and below 100)
    COUNT       = a number of requests
    CLASS       = "none" | "contained" | "cascading" | "metastable"

Without `of` a metric is over all endpoints together. An endpoint whose name has spaces, or is `successes`, is written
in double quotes. `error-rate` counts arrivals, the last attempt decides. `p95 of X` is the response time over all
arrivals of X, a failed one counting as the client's timeout at least; `p95 of successes of X` leaves failures out.
`failures` is how many arrivals failed, from the fault's beginning to the end of its arm; `failures < 1` asks for none.
`no cascade` holds for the classes `none` and `contained`; `cascade is X` asks for exactly X. `no acknowledged write is
lost or doubled` is for targets with an `audit` in their manifest: after the fault arm, everything of which a client was
told that it is stored is there once.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NoReturn

from harness import units
from harness.errors import nearest

Form = Literal["change", "limit", "count", "recovery", "cascade", "audit"]
Unit = Literal["pp", "%", "ms", "s", ""]
NOTHING_LOST = "no acknowledged write is lost or doubled"
CASCADE_CLASSES = ("none", "contained", "cascading", "metastable")

_PER_BASE: dict[Unit, int] = {"pp": 100, "%": 100, "ms": 1000, "s": 1, "": 1}
_TOKEN = re.compile(r'"(?P<quoted>[^"]*)"|[<>]|[^\s<>"]+')
_PLAIN_NAME = re.compile(r'[^\s<>"]+')
_QUANTILE = re.compile(r"p(?P<percent>[0-9]{1,2}(?:\.[0-9]{1,4})?)")
_OPENINGS = ("error-rate", "goodput", "failures", "p50", "p95", "p99", "p99.9", "recovers", "no", "cascade")


class ExpectationError(ValueError):
    """A sentence is not in the grammar. `position` is the 0-based column, `remedy` what to write instead."""

    def __init__(self, message: str, *, position: int, remedy: str = "") -> None:
        super().__init__(f"{message} (at column {position + 1})" + (f"; {remedy}" if remedy else ""))
        self.position = position
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class Expectation:
    """One sentence of `expect`.

    `metric` is `error-rate`, `goodput`, `p50`..`p99.9`, `failures`, `recovery`, `cascade` or `audit`; `endpoint` is ""
    for all together. `change`: fault against baseline stays below `margin`; `limit`, `count`: the fault arm's own value
    does. `margin` is in `unit` (5.0 of `%`, 1.0 of `pp`, 300.0 of `ms`, 10.0 of `s`; requests have none); None for
    `audit`, and for `cascade`,
    which lists the `classes` that satisfy it.
    """

    form: Form
    metric: str
    endpoint: str = ""
    successes_only: bool = False
    margin: float | None = None
    unit: Unit = ""
    classes: tuple[str, ...] = ()

    @property
    def bound(self) -> float | None:
        """The margin in base units: a share for `pp` and `%`, seconds for `ms` and `s`."""
        return None if self.margin is None else self.margin / _PER_BASE[self.unit]

    @property
    def quantile(self) -> float | None:
        """0.95 for p95, None when the metric is not a quantile."""
        return _quantile(self.metric)

    def __str__(self) -> str:
        """The sentence in its plain form; parsing it gives an equal Expectation."""
        if self.form == "audit":
            return NOTHING_LOST
        if self.margin is None:
            return "no cascade" if len(self.classes) > 1 else f"cascade is {self.classes[0]}"
        margin = _quantity(self.margin, self.unit)
        if self.form == "recovery":
            return f"recovers within {margin}"
        change = "decreases by <" if self.metric == "goodput" else "increases by <"
        relation = "<" if self.form in ("limit", "count") else change
        return f"{_subject(self.metric, self.endpoint, self.successes_only)} {relation} {margin}"


@dataclass(frozen=True, slots=True)
class AbortCondition:
    """One sentence of `abort-when`: the metric stays above (or below) `margin` (in `unit`) for `for_s` seconds."""

    metric: str
    endpoint: str
    successes_only: bool
    sign: Literal["<", ">"]
    margin: float
    unit: Unit
    for_s: float

    @property
    def bound(self) -> float:
        """The margin in base units: a share for `%`, seconds for `ms`."""
        return self.margin / _PER_BASE[self.unit]

    @property
    def quantile(self) -> float | None:
        """0.95 for p95, None when the metric is not a quantile."""
        return _quantile(self.metric)

    def quantity(self, value: float) -> str:
        """A value of the metric, given in base units, as people write it."""
        digits = f"{value * _PER_BASE[self.unit]:.3g}"
        return f"{float(digits):g}{self.unit}"

    def __str__(self) -> str:
        """The sentence in its plain form; parsing it gives an equal AbortCondition."""
        subject = _subject(self.metric, self.endpoint, self.successes_only)
        held = units.format_duration(self.for_s)
        return f"{subject} {self.sign} {_quantity(self.margin, self.unit)} for {held}"


def parse(text: str) -> Expectation:
    """Read one sentence of `expect`. Raises ExpectationError."""
    words = _Words(text)
    match words.next.text:
        case "recovers":
            words.take("recovers")
            words.take("within")
            found = Expectation("recovery", "recovery", margin=words.quantity("s", units.parse_duration), unit="s")
        case "no":
            words.take("no")
            if words.take("cascade", "acknowledged") == "cascade":
                found = Expectation("cascade", "cascade", classes=("none", "contained"))
            else:
                for word in NOTHING_LOST.split()[2:]:
                    words.take(word)
                found = Expectation("audit", "audit")
        case "cascade":
            words.take("cascade")
            words.take("is")
            found = Expectation("cascade", "cascade", classes=(words.take(*CASCADE_CLASSES),))
        case _:
            metric, endpoint, successes_only = _read_subject(words)
            form, margin, unit = _read_relation(words, metric)
            found = Expectation(form, metric, endpoint, successes_only, margin, unit)
    words.finish("an expectation")
    return found


def parse_abort(text: str) -> AbortCondition:
    """Read one sentence of `abort-when`, such as `error-rate > 50% for 5s`. Raises ExpectationError."""
    words = _Words(text)
    metric, endpoint, successes_only = _read_subject(words)
    if metric in ("goodput", "failures"):
        why = "has no absolute form" if metric == "goodput" else "are counted when the run is over"
        raise ExpectationError(f"{metric} {why}", position=0, remedy="use `error-rate` or a quantile")
    sign: Literal["<", ">"] = ">" if words.take(">", "<") == ">" else "<"
    margin, unit = _read_limit(words, metric)
    words.take("for")
    for_s = words.quantity("s", units.parse_duration)
    words.finish("an abort condition")
    return AbortCondition(metric, endpoint, successes_only, sign, margin, unit, for_s)


def _read_subject(words: _Words) -> tuple[str, str, bool]:
    metric = words.next.text
    if words.next.quoted or (metric not in ("error-rate", "goodput", "failures") and _quantile(metric) is None):
        words.fail("expected a metric", nearest(metric, _OPENINGS))
    words.take(metric)
    if not words.next_is("of"):
        return metric, "", False
    words.take("of")
    if not words.next_is("successes"):
        return metric, words.name("an endpoint"), False
    if _quantile(metric) is None:
        words.fail("`of successes` is for quantiles only", "write for example `p95 of successes of checkout < 300ms`")
    words.take("successes")
    words.take("of")
    return metric, words.name("an endpoint"), True


def _read_relation(words: _Words, metric: str) -> tuple[Form, float, Unit]:
    if metric == "failures":
        words.take("<")
        return "count", words.quantity("", _parse_count), ""
    if metric == "goodput":
        words.take("decreases")
    elif words.take("increases", "<") == "<":
        return "limit", *_read_limit(words, metric)
    words.take("by")
    words.take("<")
    if metric == "error-rate":
        return "change", words.quantity("pp", units.parse_points), "pp"
    if metric == "goodput" or words.next.text.endswith("%"):
        return "change", words.quantity("%", units.parse_percentage), "%"
    return "change", words.quantity("ms", units.parse_duration), "ms"


def _read_limit(words: _Words, metric: str) -> tuple[float, Unit]:
    if metric == "error-rate":
        return words.quantity("%", units.parse_percentage), "%"
    return words.quantity("ms", units.parse_duration), "ms"


def _parse_count(text: str) -> int:
    if not re.fullmatch("[0-9]{1,9}", text):
        raise units.UnitError(f"expected a number of requests such as `1`, got `{text}`")
    return int(text)


@dataclass(frozen=True, slots=True)
class _Word:
    text: str
    at: int
    quoted: bool = False


class _Words:
    """The words of one sentence, taken from left to right; an empty word stands at the end."""

    def __init__(self, text: str) -> None:
        self._left: list[_Word] = []
        at = 0
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is not None:
                quoted = match["quoted"]
                self._left.append(_Word(match[0] if quoted is None else quoted, at, quoted is not None))
                at = match.end()
            elif text[at].isspace():
                at += 1
            else:
                raise ExpectationError("a quote that never ends", position=at, remedy='close it with `"`')
        self._left.append(_Word("", len(text)))
        self._left.reverse()

    @property
    def next(self) -> _Word:
        return self._left[-1]

    def next_is(self, word: str) -> bool:
        return self.next.text == word and not self.next.quoted

    def take(self, *allowed: str) -> str:
        """The next word, which must be one of `allowed`."""
        if not any(self.next_is(word) for word in allowed):
            choices = " or ".join(f"`{word}`" for word in allowed)
            self.fail(f"expected {choices}", nearest(self.next.text, allowed) if len(allowed) > 2 else "")
        return self._left.pop().text

    def name(self, what: str) -> str:
        """The next word, whatever it is, but not nothing and not a bare sign."""
        if not self.next.text or (self.next.text in ("<", ">") and not self.next.quoted):
            self.fail(f"expected {what}", "")
        return self._left.pop().text

    def quantity(self, unit: Unit, parse_base: Callable[[str], float]) -> float:
        """The next word, a positive quantity, in `unit`."""
        try:
            value = round(parse_base(self.next.text) * _PER_BASE[unit], 9)
        except units.UnitError as error:
            self.fail(str(error), "")
        if value <= 0:
            self.fail("expected a quantity above zero", "")
        self._left.pop()
        return value

    def finish(self, what: str) -> None:
        """Nothing may be left."""
        if self.next.text or self.next.quoted:
            self.fail(f"{what} ends here", "remove the rest")

    def fail(self, message: str, remedy: str) -> NoReturn:
        """Raise an ExpectationError at the next word."""
        came = f"got `{self.next.text}`" if self.next.text else "but the sentence ends"
        said = message if "got `" in message else f"{message}, {came}"
        raise ExpectationError(said, position=self.next.at, remedy=remedy)


def _quantile(metric: str) -> float | None:
    match = _QUANTILE.fullmatch(metric)
    share = round(float(match["percent"]) / 100, 9) if match else 0.0
    return share if share > 0 else None


def _subject(metric: str, endpoint: str, successes_only: bool) -> str:
    if not endpoint:
        return metric
    name = endpoint if _PLAIN_NAME.fullmatch(endpoint) and endpoint != "successes" else f'"{endpoint}"'
    return f"{metric} of {'successes of ' if successes_only else ''}{name}"


def _quantity(margin: float, unit: Unit) -> str:
    base = margin / _PER_BASE[unit]
    if not unit:
        return f"{base:.0f}"
    if unit in ("ms", "s"):
        return units.format_duration(base)
    return units.format_points(base) if unit == "pp" else units.format_percentage(base)
