"""Each shipped scenario was really run in each variant, ended as it claims, and the table says what was seen."""

import endings
import pytest
from endings import INVALID, PAGE, Claim, claims, ending_of, kept, seen, with_table

CLAIMS = claims()


def test_the_table_is_the_one_that_the_endings_make() -> None:
    page = PAGE.read_text()
    assert with_table(page) == page, "write it anew with `python tests/prove.py --table`"


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)
def test_the_last_real_runs_ended_as_claimed(claim: Claim) -> None:
    valid = [ending for ending in seen(claim) if ending["exit"] != INVALID]
    assert valid, f'see how it ends with `python tests/prove.py "{claim.name}"`'
    assert all(map(claim.holds, valid))


@pytest.mark.parametrize("scenario", sorted({claim.scenario for claim in CLAIMS}))
def test_the_default_passes_and_another_variant_does_not(scenario: str) -> None:
    mine = [claim for claim in CLAIMS if claim.scenario == scenario]
    assert [claim.passes for claim in mine].count(True) == 1
    others = [ending for claim in mine if not claim.passes for ending in kept(scenario).get(claim.variant, [])]
    assert any(ending["exit"] in (1, 3) for ending in others)


@pytest.mark.parametrize(
    ("claim", "verdict", "code", "held"),
    [
        (Claim("s", "v", "contained"), "contained", 1, True),
        (Claim("s", "v", "contained", passes=True), "contained", 1, False),
        (Claim("s", "v", "contained", passes=True), "contained", 0, True),
        (Claim("s", "v", "contained", passes=True), "none", 0, False),
        (Claim("s", "v", "none or contained"), "none", 0, True),
        (Claim("s", "v", "none or contained"), "cascading", 3, False),
        (Claim("s", "v", "metastable", hysteresis="confirmed"), "metastable", 3, False),
        (Claim("s", "v", "contained"), None, 2, False),
    ],
)
def test_a_claim_is_held_against_what_the_run_said(claim: Claim, verdict: str, code: int, held: bool) -> None:
    told = {
        "outcome": "pass",
        "cascade": {"class": verdict, "hysteresis": ""},
        "recovery": {"recovered": True, "seconds": 1.0},
        "impact": {"share": 0.4, "seconds": 3.0, "failed": 12},
    }
    assert claim.holds(ending_of(told if verdict else None, code, 60.2)) is held


def test_what_was_seen_is_the_middle_of_the_valid_runs(tmp_path, monkeypatch) -> None:
    (tmp_path / "endings").mkdir()
    (tmp_path / "one.yaml").write_text(
        "variant: good\nteaches: Look.\nvariants: {good: {ends-as: none}, bad: {ends-as: contained}}\n"
    )
    monkeypatch.setattr(endings, "SCENARIOS", tmp_path)
    monkeypatch.setattr(endings, "PAGE", tmp_path / "README.md")
    page = "before\n" + endings.BEGIN + "old\n" + endings.END + "after\n"
    endings.PAGE.write_text(page)
    good, bad = claims()
    hit = {"hit_share": 0.4, "hit_s": 3.0, "failed": 12}
    run = {"class": "contained", "exit": 1, "took_s": 50, "back_s": 2.0, **hit}
    endings.keep(bad, [{"exit": INVALID, "took_s": 9}, run, run | {"hit_share": 0.5}, run | {"class": "none"}])
    written = endings.PAGE.read_text()
    assert "|  | `bad` | contained | 2 of 3 | 40% | 3 s | 12 | - | 2 s | 50 s |" in written
    assert "| `one`: Look. | `good` | none, passes | - | - | - | - | - | - | - |" in written
    assert written.startswith("before\n")
    assert written.endswith("after\n")
    assert "old" not in written
    run |= {"class": "none", "exit": 0, "back_s": None, "acknowledged": 90, "lost": 2, "doubled": 0}
    endings.keep(good, [run])
    assert "| 1 of 1 | 40% | 3 s | 12 | 2, 0 of 90 | not in the run | 50 s |" in endings.PAGE.read_text()
    assert len(kept("one")["bad"]) == 4
