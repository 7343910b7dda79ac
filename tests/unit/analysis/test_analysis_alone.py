"""A baseline arm by itself says whether the load alone does harm."""

from pathlib import Path

import pytest
from record_builder import build_record

from harness.analysis.analyse import analyse
from harness.exits import Exit
from harness.record.reader import read


def _only_baseline(folder: Path, *, error: float) -> Path:
    import json

    import pyarrow.parquet as pq
    from record_builder import seal

    build_record(folder, seconds=30, rate=60, endpoints=("a", "b"), baseline_error=error, fault_window=(10, 20))
    table = pq.read_table(folder / "samples.parquet")
    mask = [name == "baseline-1" for name in table["arm"].to_pylist()]
    pq.write_table(table.filter(mask), folder / "samples.parquet")
    lines = (folder / "events.jsonl").read_text().splitlines(keepends=True)
    kept = [line for line in lines if json.loads(line).get("arm") == "baseline-1"]
    (folder / "events.jsonl").write_text("".join(kept))
    info = json.loads((folder / "run.json").read_text())
    info["arms"] = [arm for arm in info["arms"] if arm["kind"] == "baseline"]
    (folder / "run.json").write_text(json.dumps(info))
    seal(folder)
    return folder


@pytest.mark.parametrize(("error", "klass"), [(0.0, "none"), (0.2, "unknown")])
def test_the_load_alone(tmp_path: Path, error: float, klass: str) -> None:
    verdict = analyse(read(_only_baseline(tmp_path / "record", error=error)))
    assert verdict.cascade.klass == klass
    assert verdict.exit_code == Exit.INCONCLUSIVE, "nothing that was expected could be judged"
    assert "without a fault arm" in verdict.sentence
