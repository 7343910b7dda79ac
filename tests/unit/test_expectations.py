"""The grammar of `expect` and `abort-when`."""

import pytest

from harness.expectations import AbortCondition, Expectation, ExpectationError, parse, parse_abort

FORMS = {
    "error-rate increases by < 1pp": Expectation("change", "error-rate", margin=1.0, unit="pp"),
    "error-rate of catalog increases by < 0.5pp": Expectation("change", "error-rate", "catalog", margin=0.5, unit="pp"),
    "error-rate < 2%": Expectation("limit", "error-rate", margin=2.0, unit="%"),
    "p95 of checkout increases by < 50%": Expectation("change", "p95", "checkout", margin=50.0, unit="%"),
    "p99.9 of checkout increases by < 20ms": Expectation("change", "p99.9", "checkout", margin=20.0, unit="ms"),
    "p95 of successes of checkout < 300ms": Expectation("limit", "p95", "checkout", True, 300.0, "ms"),
    'p50 of "GET /a b" < 1.5s': Expectation("limit", "p50", "GET /a b", margin=1500.0, unit="ms"),
    "p50 of successes < 10ms": None,
    'p50 of "successes" < 10ms': Expectation("limit", "p50", "successes", margin=10.0, unit="ms"),
    "goodput decreases by < 5%": Expectation("change", "goodput", margin=5.0, unit="%"),
    "failures < 1": Expectation("count", "failures", margin=1.0),
    "failures of checkout < 20": Expectation("count", "failures", "checkout", margin=20.0),
    "recovers within 10s": Expectation("recovery", "recovery", margin=10.0, unit="s"),
    "no cascade": Expectation("cascade", "cascade", classes=("none", "contained")),
    "no acknowledged write is lost or doubled": Expectation("audit", "audit"),
    "cascade is metastable": Expectation("cascade", "cascade", classes=("metastable",)),
}


@pytest.mark.parametrize(("text", "meaning"), [(text, meaning) for text, meaning in FORMS.items() if meaning])
def test_every_form_has_its_meaning_and_its_words(text: str, meaning: Expectation) -> None:
    assert parse(text) == meaning
    assert str(meaning) == text


def test_white_space_does_not_matter() -> None:
    assert parse("  error-rate   increases by <1pp ") == parse("error-rate increases by < 1pp")


def test_base_units() -> None:
    assert parse("error-rate increases by < 1pp").bound == 0.01
    assert parse("p99.9 of checkout < 300ms").bound == 0.3
    assert parse("p99.9 of checkout < 300ms").quantile == 0.999
    assert parse("no cascade").bound is None
    assert parse("error-rate < 2%").quantile is None


@pytest.mark.parametrize(
    ("text", "position", "said"),
    [
        ("", 0, "expected a metric"),
        ("eror-rate < 2%", 0, "did you mean `error-rate`"),
        ("error-rate raises by < 1pp", 11, "`increases`"),
        ("error-rate increases by < 1%", 26, "percentage points"),
        ("error-rate > 2%", 11, "`<`"),
        ("error-rate < 0%", 13, "above zero"),
        ("error-rate < 2% for 5s", 16, "ends here"),
        ("p0 < 3ms", 0, "expected a metric"),
        ("p100 < 3ms", 0, "expected a metric"),
        ("p95 of < 3ms", 7, "expected an endpoint"),
        ('p95 of "checkout < 3ms', 7, "quote"),
        ("p50 of successes < 10ms", 17, "expected `of`"),
        ("goodput of successes of a decreases by < 3%", 11, "quantiles only"),
        ("goodput increases by < 3%", 8, "`decreases`"),
        ("failures < 0", 11, "above zero"),
        ("failures < 1%", 11, "expected a number of requests such as `1`, got `1%`"),
        ("failures increases by < 1pp", 9, "expected `<`"),
        ("failures of successes of a < 1", 12, "quantiles only"),
        ("recovers within 10", 16, "without a unit"),
        ("cascade is contaned", 11, "did you mean `contained`"),
        ("no cascade at all", 11, "ends here"),
        ("no write is lost", 3, "expected `cascade` or `acknowledged`"),
        ("no acknowledged write is lost", 29, "`or`"),
        ('"p95" < 3ms', 0, "expected a metric"),
    ],
)
def test_an_error_says_where_and_what_instead(text: str, position: int, said: str) -> None:
    with pytest.raises(ExpectationError) as caught:
        parse(text)
    assert caught.value.position == position
    assert said in str(caught.value)


def test_an_abort_condition_is_absolute_and_lasts() -> None:
    assert parse_abort("error-rate > 50% for 5s") == AbortCondition("error-rate", "", False, ">", 50.0, "%", 5.0)
    assert parse_abort("p95 of checkout > 2s for 10s").bound == 2.0
    for text in (
        "failures > 3 for 5s",
        "error-rate > 50%",
        "error-rate increases by < 1pp",
        "no cascade",
        "goodput < 3% for 5s",
    ):
        with pytest.raises(ExpectationError):
            parse_abort(text)


def test_an_abort_condition_has_its_words() -> None:
    for text in ("error-rate > 50% for 5s", "p95 of successes of checkout > 2s for 10s"):
        assert str(parse_abort(text)) == text
