"""A stack that could not be taken down keeps its ledger, so that the guard finds what is left."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.ledger import Ledger, mark_of
from harness.run import _take_down


def _fail() -> None:
    raise OSError("a folder that will not go")


@pytest.mark.parametrize(("down", "left"), [(lambda: None, False), (_fail, True)])
def test_the_ledger_goes_only_when_nothing_is_left(tmp_path: Path, down: Any, left: bool) -> None:
    book = Ledger(tmp_path / "ledger.jsonl")
    book.run("run-x", mark_of(os.getpid(), "conductor", 15))
    try:
        _take_down(SimpleNamespace(down=down), book)  # type: ignore[arg-type]
    except OSError:
        assert left
    assert book.path.exists() is left
