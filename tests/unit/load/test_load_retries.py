import pytest

from harness.load.retries import BUDGET_BURST, Retries
from harness.plan import Retry


def waits(retries: Retries, attempts: int, error: str = "timeout", status: int = 0) -> list[int | None]:
    return [retries.wait_ns("checkout", attempt, status, error) for attempt in range(attempts)]


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
        granted += retries.wait_ns("checkout", 0, 0, "timeout") is not None
    assert granted == pytest.approx(100 + BUDGET_BURST, abs=2)


def test_a_budget_does_not_pile_up_in_calm_times():
    retries = Retries({"checkout": Retry("immediate", 1, budget=0.5)}, 1)
    for _ in range(10_000):
        retries.arrived("checkout")
    granted = sum(retries.wait_ns("checkout", 0, 0, "timeout") is not None for _ in range(1000))
    assert granted == BUDGET_BURST
