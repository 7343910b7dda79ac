import pytest

from harness.load.retries import BUDGET_BURST, Retries
from harness.plan import Retry, RetryStorm


def waits(retries: Retries, attempts: int, error: str = "timeout", status: int = 0) -> list[int | None]:
    return [retries.wait_ns("checkout", attempt, status, error, 0) for attempt in range(attempts)]


def test_without_a_policy_nothing_is_retried():
    assert waits(Retries({}, 1), 2) == [None, None]
    assert waits(Retries({"checkout": Retry("none", 3)}, 1), 2) == [None, None]


def test_immediate_retries_up_to_the_limit():
    assert waits(Retries({"checkout": Retry("immediate", 2)}, 1), 4) == [0, 0, None, None]


@pytest.mark.parametrize(
    ("error", "status", "retried"),
    [
        ("timeout", 0, True),
        ("connect", 0, True),
        ("reset", 0, True),
        ("protocol", 0, True),
        ("http_5xx", 503, True),
        ("http_4xx", 429, True),
        ("http_4xx", 404, False),
        ("check", 200, False),
    ],
)
def test_only_what_may_get_better_is_retried(error, status, retried):
    assert (waits(Retries({"checkout": Retry("immediate", 1)}, 1), 1, error, status) == [0]) is retried


def test_backoff_has_full_jitter_under_a_ceiling_that_doubles_up_to_the_cap():
    policy = Retry("exponential", 5, base_s=0.1, cap_s=0.5)
    samples = [waits(Retries({"checkout": policy}, seed), 5) for seed in range(300)]
    for attempt, ceiling_s in enumerate((0.1, 0.2, 0.4, 0.5, 0.5)):
        drawn = [sample[attempt] / 1e9 for sample in samples]
        assert 0 <= min(drawn) < 0.1 * ceiling_s
        assert 0.9 * ceiling_s < max(drawn) <= ceiling_s


def test_the_same_seed_waits_alike():
    policy = {"checkout": Retry("exponential", 3)}
    assert waits(Retries(policy, 9), 3) == waits(Retries(policy, 9), 3)
    assert waits(Retries(policy, 9), 3) != waits(Retries(policy, 10), 3)


def test_a_budget_allows_its_share_of_the_arrivals_beyond_the_burst():
    retries = Retries({"checkout": Retry("immediate", 1, budget=0.1)}, 1)
    granted = 0
    for _ in range(1000):
        retries.arrived("checkout")
        granted += retries.wait_ns("checkout", 0, 0, "timeout", 0) is not None
    assert granted == pytest.approx(100 + BUDGET_BURST, abs=2)


def test_a_budget_does_not_pile_up_in_calm_times():
    retries = Retries({"checkout": Retry("immediate", 1, budget=0.5)}, 1)
    for _ in range(10_000):
        retries.arrived("checkout")
    granted = sum(retries.wait_ns("checkout", 0, 0, "timeout", 0) is not None for _ in range(1000))
    assert granted == BUDGET_BURST


def test_a_storm_takes_the_place_of_policies_and_budgets_in_its_time():
    storms = {"storm": RetryStorm(100, 200, 2, ("checkout",))}
    retries = Retries({"checkout": Retry("exponential", 5, budget=0.0), "catalog": Retry("immediate", 1)}, 1, storms)

    def after(end_ns: int, name: str = "checkout", attempt: int = 0) -> int | None:
        return retries.wait_ns(name, attempt, 503, "http_5xx", end_ns)

    assert [after(100), after(100, attempt=1), after(199, attempt=2)] == [0, 0, None]
    assert (retries.storm_failed, retries.storm_retries) == (1, 2)
    assert [retries.storming(at_ns) for at_ns in (99, 100, 199, 200)] == [False, True, True, False]
    assert retries.wait_ns("checkout", 0, 404, "http_4xx", 150) is None, "what cannot get better is not sent again"
    assert [after(150, "catalog", attempt) for attempt in (0, 1)] == [0, None], "its own policy"
    assert (retries.storm_failed, retries.storm_retries) == (1, 2)
    for _ in range(int(BUDGET_BURST)):
        assert after(200) is not None, "the budget is untouched by the storm"
    assert after(200) is None
    storms.clear()
    assert after(150) is None, "it was told to forget it"


def test_a_storm_of_all_endpoints_knows_those_without_a_policy():
    retries = Retries({}, 1, {"storm": RetryStorm(0, 10, 1)})
    assert retries.wait_ns("ping", 0, 0, "timeout", 5) == 0
    assert retries.wait_ns("ping", 0, 0, "timeout", 10) is None
