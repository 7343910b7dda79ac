"""How the shipped scenarios ended in real runs: scenarios/endings, and the table of scenarios/README.md made of it.

`tests/prove.py` has both written.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import yaml

SCENARIOS = Path(__file__).resolve().parent.parent / "scenarios"
PAGE = SCENARIOS / "README.md"
BEGIN, END = "<!-- endings: written by tests/prove.py -->\n", "<!-- /endings -->\n"
INVALID = 5

Verdict = dict[str, Any]
Ending = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Claim:
    """A scenario in a variant, perhaps with `options`, and the class as which it has to end each time.

    The default variant also has to pass.
    """

    scenario: str
    variant: str
    ends_as: str
    passes: bool = False
    options: tuple[str, ...] = ()
    hysteresis: str = ""
    teaches: str = ""

    @property
    def name(self) -> str:
        return " ".join((self.scenario, *self.setup))

    @property
    def setup(self) -> tuple[str, ...]:
        return (self.variant, *self.options)

    @property
    def says(self) -> str:
        return self.ends_as + (", passes" if self.passes else "") + (", confirmed" if self.hysteresis else "")

    def holds(self, ending: Ending) -> bool:
        return (
            ending.get("class", "?") in self.ends_as.split(" or ")
            and (ending["exit"] == 0 or not self.passes)
            and (not self.hysteresis or ending["hysteresis"] == self.hysteresis)
        )


MORE = (
    Claim("two-am", "fragile", "none", options=("--only", "baseline")),
    Claim("two-am", "fragile", "metastable", options=("--set", "hysteresis=on"), hysteresis="confirmed"),
)
"""What is claimed besides the variants as they stand in their files."""


def claims() -> list[Claim]:
    """A claim for every variant of a shipped scenario that says as what it ends, by scenario."""
    return [claim for file in sorted(SCENARIOS.glob("*.yaml")) for claim in _claims_of(file)]


def _claims_of(file: Path) -> Iterator[Claim]:
    scenario = yaml.safe_load(file.read_text())
    for name, variant in scenario["variants"].items():
        if "ends-as" in variant:
            passes, teaches = name == scenario["variant"], scenario["teaches"]
            yield Claim(file.stem, name, variant["ends-as"], passes, teaches=teaches)
    yield from (claim for claim in MORE if claim.scenario == file.stem)


def ending_of(verdict: Verdict | None, code: int, took_s: float) -> Ending:
    """What is kept of a run: its exit code, and what its verdict says if it has one."""
    ending: Ending = {"exit": code, "took_s": round(took_s)}
    if verdict is None:
        return ending
    impact, recovery = verdict["impact"], verdict["recovery"]
    ending |= {
        "outcome": verdict["outcome"],
        "class": verdict["cascade"]["class"],
        "hysteresis": verdict["cascade"]["hysteresis"],
        "hit_share": impact and impact["share"],
        "hit_s": impact and impact["seconds"],
        "failed": impact and impact["failed"],
        "back_s": recovery["seconds"] if recovery["recovered"] else None,
    }
    for arm in verdict.get("audit", ()):
        if arm["arm"].startswith("fault"):
            ending |= {"acknowledged": arm["acknowledged"], "lost": arm["missing"], "doubled": arm["doubled"]}
    return ending


def kept(scenario: str) -> dict[str, list[Ending]]:
    """The endings of a scenario's last series of runs, by variant and options."""
    file = _file(scenario)
    return json.loads(file.read_text()) if file.exists() else {}


def seen(claim: Claim) -> list[Ending]:
    """The endings of a claim's last series of runs."""
    return kept(claim.scenario).get(" ".join(claim.setup), [])


def keep(claim: Claim, series: list[Ending]) -> None:
    """Put a series of runs in the place of the claim's last one, and renew the table."""
    lines = [
        f" {json.dumps(setup)}: [\n" + ",\n".join(f"  {json.dumps(ending)}" for ending in endings) + "\n ]"
        for setup, endings in sorted((kept(claim.scenario) | {" ".join(claim.setup): series}).items())
    ]
    _file(claim.scenario).parent.mkdir(exist_ok=True)
    _file(claim.scenario).write_text("{\n" + ",\n".join(lines) + "\n}\n")
    PAGE.write_text(with_table(PAGE.read_text()))


def _file(scenario: str) -> Path:
    return SCENARIOS / "endings" / f"{scenario}.json"


def with_table(page: str) -> str:
    """The page with the table as it is now."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + "\n" + table() + "\n" + END + after


def table() -> str:
    """Markdown: each scenario with its variants, and how the last real runs of each ended."""
    columns = ("scenario and what it teaches", "variant", "ends as", *_COLUMNS)
    rows = [f"| {' | '.join(columns)} |", "| --- " * len(columns) + "|"]
    shown = ""
    for claim in claims():
        first = "" if claim.scenario == shown else f"`{claim.scenario}`: {claim.teaches}"
        shown = claim.scenario
        variant = " ".join(f"`{word}`" if word == claim.variant else word for word in claim.setup)
        rows.append(f"| {first} | {variant} | {claim.says} | {' | '.join(_seen(claim))} |")
    return "\n".join(rows) + "\n"


_COLUMNS = ("runs", "hit at most", "for", "failed requests", "writes lost, doubled", "back after", "a run takes")


def _seen(claim: Claim) -> list[str]:
    valid = [ending for ending in seen(claim) if ending["exit"] != INVALID]
    if not valid:
        return ["-"] * len(_COLUMNS)
    held = f"{sum(map(claim.holds, valid))} of {len(valid)}"
    takes = _middle(valid, "took_s", "{:.0f} s")
    if valid[0].get("hit_share") is None:
        return [held, *["-"] * (len(_COLUMNS) - 2), takes]
    failed, writes = _middle(valid, "failed", "{:.0f}"), "-"
    if all("lost" in ending for ending in valid):
        lost, doubled, all_ = (sum(ending[key] for ending in valid) for key in ("lost", "doubled", "acknowledged"))
        writes = f"{lost}, {doubled} of {all_}"
    back = "not in the run" if None in [one["back_s"] for one in valid] else _middle(valid, "back_s", "{:.0f} s")
    return [
        held,
        _middle(valid, "hit_share", "{:.0%}"),
        _middle(valid, "hit_s", "{:.0f} s"),
        failed,
        writes,
        back,
        takes,
    ]


def _middle(valid: list[Ending], key: str, shown: str) -> str:
    return shown.format(median(ending[key] for ending in valid))
