"""Units and sentences: what is written reads back the same, and anything else is refused in the right way."""

import contextlib

from hypothesis import given
from hypothesis import strategies as st

from harness import units
from harness.expectations import AbortCondition, Expectation, ExpectationError, parse, parse_abort

seconds = st.floats(min_value=1e-6, max_value=1e6).map(lambda value: round(value, 6))
margins = st.integers(1, 100_000).map(lambda value: value / 100)
endpoints = st.one_of(
    st.just(""),
    st.sampled_from(["checkout", "successes", "of", "/a/[id]", "GET /x y", "<", "no"]),
    st.text(st.characters(blacklist_categories=["Cs", "Cc"], blacklist_characters='"'), min_size=1, max_size=12),
)
quantiles = st.sampled_from(["p1", "p50", "p95", "p99", "p99.9", "p99.99"])
WORDS = """
error-rate goodput failures p95 of successes checkout increases decreases by < > 1pp 50% 7 300ms for 5s recovers within
no cascade is contained "a b" "
acknowledged write lost or doubled
"""
words = st.sampled_from(WORDS.split())


@st.composite
def expectations(draw: st.DrawFn) -> Expectation:
    kind = draw(
        st.sampled_from(
            [
                "errors",
                "errors-limit",
                "quantile",
                "quantile-limit",
                "goodput",
                "failures",
                "recovery",
                "cascade",
                "audit",
            ]
        )
    )
    endpoint, margin = draw(endpoints), draw(margins)
    successes = bool(endpoint) and draw(st.booleans())
    match kind:
        case "errors":
            return Expectation("change", "error-rate", endpoint, margin=margin, unit="pp")
        case "errors-limit":
            return Expectation("limit", "error-rate", endpoint, margin=margin, unit="%")
        case "quantile":
            return Expectation(
                "change", draw(quantiles), endpoint, successes, margin, draw(st.sampled_from(["%", "ms"]))
            )
        case "quantile-limit":
            return Expectation("limit", draw(quantiles), endpoint, successes, margin, "ms")
        case "goodput":
            return Expectation("change", "goodput", endpoint, margin=margin, unit="%")
        case "failures":
            return Expectation("count", "failures", endpoint, margin=float(draw(st.integers(1, 10**9 - 1))))
        case "recovery":
            return Expectation("recovery", "recovery", margin=margin, unit="s")
        case "audit":
            return Expectation("audit", "audit")
    return Expectation(
        "cascade", "cascade", classes=draw(st.sampled_from([("none", "contained"), ("none",), ("metastable",)]))
    )


@given(seconds)
def test_durations_read_back(value: float) -> None:
    assert units.parse_duration(units.format_duration(value)) == value


@given(st.floats(min_value=1e-6, max_value=1e6).map(lambda value: round(value, 6)))
def test_rates_and_shares_read_back(value: float) -> None:
    assert units.parse_rate(units.format_rate(value)) == value
    assert units.parse_percentage(units.format_percentage(value)) == value
    assert units.parse_percentage(units.format_percentage(-value)) == -value
    assert units.parse_points(units.format_points(value)) == value


@given(st.text(max_size=12) | st.from_regex(r"[+-]?[0-9.]{1,6} ?(s|ms|%|pp|/s|KiB)?", fullmatch=True))
def test_any_text_is_a_quantity_or_a_unit_error(text: str) -> None:
    for read in (units.parse_duration, units.parse_rate, units.parse_percentage, units.parse_points):
        with contextlib.suppress(units.UnitError):
            assert read(text) == read(text.strip())


@given(expectations())
def test_sentences_read_back(expectation: Expectation) -> None:
    assert parse(str(expectation)) == expectation


@given(endpoints, margins, seconds)
def test_abort_conditions_read_back(endpoint: str, margin: float, for_s: float) -> None:
    for condition in (
        AbortCondition("error-rate", endpoint, False, ">", margin, "%", for_s),
        AbortCondition("p95", endpoint, bool(endpoint), "<", margin, "ms", for_s),
    ):
        assert parse_abort(str(condition)) == condition


@given(st.text(max_size=40) | st.lists(words, max_size=12).map(" ".join))
def test_any_text_is_a_sentence_or_an_error_with_its_place(text: str) -> None:
    for read in (parse, parse_abort):
        try:
            found = read(text)
        except ExpectationError as error:
            place = error.position
        else:
            assert read(str(found)) == found
            place = 0
        assert 0 <= place <= len(text)
