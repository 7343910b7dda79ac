"""Where things are: the files of a run folder, and the scenarios and targets that ship with the package."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def shipped(kind: str) -> Path:
    """The folder of shipped `scenarios` or `targets`: inside an installed wheel, or at the top of a checkout."""
    bundled = _PACKAGE / "_shipped" / kind
    return bundled if bundled.is_dir() else _PACKAGE.parent / kind


def find_scenario(name: str) -> Path:
    """A scenario by path, or by the name (with or without folder and `.yaml`) of a shipped one."""
    given = Path(name)
    if given.exists():
        return given
    candidate = shipped("scenarios") / Path(name).name
    if not candidate.suffix:
        candidate = candidate.with_suffix(".yaml")
    return candidate if candidate.is_file() else given


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The names of everything in `results/<run-id>/`."""

    root: Path

    @property
    def run_json(self) -> Path:
        """What was run and how: the resolved scenario, arms, phases, validity, digests."""
        return self.root / "run.json"

    @property
    def samples(self) -> Path:
        """One row per attempt."""
        return self.root / "samples.parquet"

    @property
    def telemetry(self) -> Path:
        """One row per gauge reading."""
        return self.root / "telemetry.parquet"

    @property
    def events(self) -> Path:
        """Phases, faults, probes, aborts; one JSON object per line."""
        return self.root / "events.jsonl"

    @property
    def audit(self) -> Path:
        """What became of acknowledged writes; only where the target can look them up."""
        return self.root / "audit.json"

    @property
    def verdict(self) -> Path:
        """Derived: what the run showed."""
        return self.root / "verdict.json"

    @property
    def report(self) -> Path:
        """Derived: the page that people read."""
        return self.root / "report.html"

    @property
    def junit(self) -> Path:
        """Derived: one test case per expectation."""
        return self.root / "junit.xml"

    @property
    def summary(self) -> Path:
        """Derived: Markdown for a CI step summary."""
        return self.root / "summary.md"

    @property
    def ledger(self) -> Path:
        """What is still to be taken back; gone after a clean end."""
        return self.root / "ledger.jsonl"

    @property
    def logs(self) -> Path:
        """What the stack and the load workers printed."""
        return self.root / "logs"

    @property
    def spool(self) -> Path:
        """Raw rows of the load workers until they are in `samples`."""
        return self.root / "spool"

    def arm_start(self, arm: str) -> Path:
        """When and how an arm was begun, while its rows are in the spool."""
        return self.spool / f"{arm}.json"
