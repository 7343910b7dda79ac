import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from runs import NAME, SHORT, ours, scratch

from harness.paths import shipped


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    path = tmp_path / "short.yaml"
    path.write_text(SHORT.format(name=NAME, users=shipped("scenarios") / "locustfiles" / "shop.py"))
    return path


@pytest.fixture
def nothing_is_left() -> Iterator[None]:
    """Every test in here must leave no process and no scratch folder of the harness behind."""
    before = scratch()
    yield
    deadline = time.monotonic() + 10
    while (left := [*ours(), *(scratch() - before)]) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert left == []
