"""Faults are taken back whatever else goes wrong."""

from types import SimpleNamespace

from harness.clock import now_ns
from harness.errors import DiskError
from harness.faults import timeline
from harness.faults.timeline import FaultTimeline
from harness.ledger import Ledger
from harness.plan import PlannedFault


class Broken:
    """A fault that is active from the moment it is injected until it is taken back."""

    confirm_s = clear_s = 5.0

    def __init__(self):
        self.active = False

    def prepare(self):
        pass

    def undo(self):
        return [{"do": "mend"}]

    def inject(self):
        self.active = True

    def halt(self):
        pass

    def is_active(self):
        return self.active

    def is_clear(self):
        return not self.active


def test_an_event_that_cannot_be_written_does_not_keep_a_fault(tmp_path, monkeypatch):
    fault = Broken()
    monkeypatch.setattr(timeline, "catalogue", lambda: {"broken": SimpleNamespace(make=lambda *_: fault)})
    monkeypatch.setattr(timeline, "revert", lambda *_, **__: setattr(fault, "active", False))
    seen = []

    def on_event(kind, **_):
        seen.append((kind, fault.active))
        if kind == "fault.clear-requested":
            raise DiskError("the disk is full")

    faults = FaultTimeline(
        [PlannedFault("it", "broken", 0.0, 0.5, {}, "app")],
        arm="fault-1",
        stack=None,
        processes=None,
        ledger=Ledger(tmp_path / "ledger.jsonl"),
        on_event=on_event,
    )
    faults.start(now_ns())
    faults.finish()
    assert ("fault.active", True) in seen
    assert not fault.active
    assert [str(error) for error in faults.errors] == ["the disk is full"]
