"""Exit codes and their precedence are a promise to scripts."""

import pytest

from harness.errors import ScenarioError, nearest
from harness.exits import Exit, most_severe


@pytest.mark.parametrize(
    ("codes", "reported"),
    [
        ((0, 1), 1),
        ((4, 1), 1),
        ((1, 3), 3),
        ((3, 6), 6),
        ((6, 5), 5),
        ((5, 130), 130),
        ((130, 70), 70),
        ((0,), 0),
        ((4, 0), 4),
    ],
)
def test_precedence(codes: tuple[int, ...], reported: int) -> None:
    assert most_severe(*(Exit(code) for code in codes)) == reported
    assert most_severe(*(Exit(code) for code in reversed(codes))) == reported


def test_a_scenario_error_names_the_place_and_the_remedy() -> None:
    error = ScenarioError(
        "unknown key", file="a.yaml", line=3, column=5, field="load.rat", remedy="did you mean `rate`?"
    )
    assert str(error) == "a.yaml:3:5: load.rat: unknown key\n  did you mean `rate`?"


def test_the_nearest_choice_is_offered() -> None:
    assert nearest("latancy", ["latency", "redis-down"]) == "did you mean `latency`? allowed: latency, redis-down"
    assert nearest("xyz", ["latency"]) == "allowed: latency"
