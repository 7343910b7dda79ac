"""The examples in CONTRIBUTING.md work as they stand there."""

import re
import subprocess
import sys
from pathlib import Path

from record_builder import build_record

from harness.scenario.manifest import load_target

TEXT = (Path(__file__).resolve().parents[2] / "CONTRIBUTING.md").read_text(encoding="utf-8")


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, flags=re.DOTALL)


def test_the_python_examples_register_and_run(tmp_path: Path) -> None:
    """In a process of its own, because the examples register themselves."""
    folder = build_record(tmp_path / "record", seconds=30, rate=20, endpoints=("a",), fault_window=(10, 18))
    code = "\n".join(_blocks("python"))
    code += f"""
from pathlib import Path
from harness.analysis.analyse import analyse
from harness.faults.catalogue import catalogue
from harness.record.reader import read
from harness.report.html import render_html

assert catalogue()["nothing-back"].summary == "Nothing comes back over a dependency edge."
record = read(Path({str(folder)!r}))
assert judge_pool_of_users(record, "fault-1").met is False
assert "2 arms were run." in render_html(record, analyse(record))
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_the_target_example_is_a_valid_manifest(tmp_path: Path) -> None:
    (block,) = _blocks("yaml")
    (tmp_path / "target.yaml").write_text(block)
    assert load_target(tmp_path).entry == "app"
