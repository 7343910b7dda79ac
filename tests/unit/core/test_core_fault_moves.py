"""Whatever a fault's moves do, raise, hang, come too late, it is taken back at once and the reason is told."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness import ledger
from harness.clock import now_ns
from harness.errors import HarnessError, NotRevertedError
from harness.exits import Exit
from harness.faults import restore, timeline, undo
from harness.faults.base import Fault
from harness.faults.moves import look_for
from harness.faults.timeline import FaultTimeline
from harness.ledger import Ledger, UndoMark
from harness.plan import PlannedFault
from harness.probes import wait_for

FOREVER_S = 60.0


class World:
    """What the fault breaks. A test puts calls in place of moves; `hang` blocks until the test is over."""

    def __init__(self) -> None:
        self.broken = False
        self.mended = 0
        self.test_over = threading.Event()
        self.moves: dict[str, Callable[[], Any]] = {}

    def hang(self) -> None:
        self.test_over.wait(FOREVER_S)

    def fail(self) -> None:
        raise RuntimeError("no such luck")

    def mend(self) -> None:
        self.broken = False
        self.mended += 1


class Breaking(Fault):
    """Breaks the world of the test."""

    confirm_s = 1.0
    clear_s = 1.0
    world: World

    def prepare(self) -> None:
        self._do("prepare", lambda: None)

    def undo(self) -> list[dict[str, str]]:
        return [{"do": "mend-the-world"}]

    def inject(self) -> None:
        self._do("inject", lambda: setattr(self.world, "broken", True))

    def halt(self) -> None:
        self._do("halt", lambda: None)

    def is_active(self) -> bool:
        return bool(self._do("is_active", lambda: self.world.broken))

    def is_clear(self) -> bool:
        return bool(self._do("is_clear", lambda: not self.world.broken))

    def _do(self, move: str, usual: Callable[[], Any]) -> Any:
        return self.world.moves.get(move, usual)()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    world = World()
    monkeypatch.setattr(Breaking, "world", world, raising=False)
    monkeypatch.setattr(timeline, "catalogue", lambda: {"breaking": SimpleNamespace(make=Breaking)})
    action = (lambda *_: world.moves.get("mend", world.mend)(), lambda _: "mend --by hand")
    monkeypatch.setitem(undo._actions, "mend-the-world", action)
    yield world
    world.test_over.set()


class Run:
    def __init__(self, folder: Path, *, at_s: float = 0.0, for_s: float = 0.5) -> None:
        self.ledger = Ledger(folder / "ledger.jsonl")
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.faults = FaultTimeline(
            [PlannedFault("it", "breaking", at_s, for_s, {}, "app")],
            arm="fault-1",
            stack=None,  # type: ignore[arg-type]
            processes=None,  # type: ignore[arg-type]
            ledger=self.ledger,
            on_event=lambda kind, **fields: self.events.append((kind, fields)),
        )
        self.faults.start(now_ns())

    def error(self) -> HarnessError:
        self.faults.finish()
        (error,) = self.faults.errors
        return error

    def kinds(self) -> list[str]:
        return [kind.removeprefix("fault.") for kind, _ in self.events]


def test_the_events_carry_what_was_measured(world: World, tmp_path: Path) -> None:
    run = Run(tmp_path, at_s=0.1)
    run.faults.finish()
    assert not run.faults.errors
    assert run.kinds() == ["requested", "active", "clear-requested", "clear"]
    requested, active, asked, clear = (fields for _, fields in run.events)
    assert requested["late_ms"] == round((requested["t_ns"] - 100_000_000) / 1e6, 3) >= 0
    assert active["after_ms"] == round((active["t_ns"] - requested["t_ns"]) / 1e6, 3) >= 0
    assert clear["after_ms"] == round((clear["t_ns"] - asked["t_ns"]) / 1e6, 3) >= 0


@pytest.mark.parametrize(
    ("move", "said"),
    [
        ("prepare", "the fault it failed: RuntimeError: no such luck"),
        ("inject", "the fault it failed: RuntimeError: no such luck"),
        ("is_active", "no effect could be seen within 1 s (RuntimeError: no such luck)"),
    ],
)
def test_a_move_that_raises_is_told_and_the_fault_taken_back(
    world: World, tmp_path: Path, move: str, said: str
) -> None:
    world.moves[move] = world.fail
    run = Run(tmp_path)
    error = run.error()
    assert said in str(error)
    assert error.exit_code == Exit.INVALID
    assert not world.broken
    assert world.mended == (move != "prepare")
    assert "active" not in run.kinds()
    if move != "prepare":
        assert ledger.read(run.ledger.path).undos == ()


def test_an_error_of_a_part_never_looks_like_a_mistake_of_the_user(world: World, tmp_path: Path) -> None:
    def refuse() -> None:
        raise HarnessError("the proxy said no", remedy="look there")

    world.moves["inject"] = refuse
    error = Run(tmp_path).error()
    assert str(error) == "the fault it failed: the proxy said no\n  look there"
    assert error.exit_code == Exit.INVALID


@pytest.mark.parametrize("look", ["fail", "hang"])
def test_a_fault_that_cannot_be_seen_to_be_gone_was_not_reverted(world: World, tmp_path: Path, look: str) -> None:
    world.moves["is_clear"] = getattr(world, look)
    error = Run(tmp_path).error()
    assert isinstance(error, NotRevertedError)
    assert error.exit_code == Exit.NOT_REVERTED
    assert "its effect is still there" in str(error)
    assert ("no such luck" in str(error)) == (look == "fail")
    assert "by hand: mend --by hand" in error.remedy


@pytest.mark.parametrize("move", ["inject", "is_active", "prepare"])
def test_a_move_that_hangs_does_not_hold_up_the_end(world: World, tmp_path: Path, move: str) -> None:
    world.moves[move] = world.hang
    if move == "is_active":
        world.broken = True
    run = Run(tmp_path, for_s=FOREVER_S)
    assert wait_for(lambda: move == "prepare" or "requested" in run.kinds(), timeout_s=5)
    began = time.monotonic()
    run.faults.revert_now()
    assert time.monotonic() - began < FOREVER_S / 10
    assert not world.broken
    assert not run.faults.errors


def test_what_a_fault_does_by_itself_is_ended_before_its_undo(world: World, tmp_path: Path) -> None:
    world.moves["halt"] = lambda: setattr(world, "broken", "halted")
    world.moves["mend"] = lambda: world.broken == "halted" and world.mend()
    Run(tmp_path).faults.finish()
    assert world.mended == 1


@pytest.mark.parametrize(("halt", "said"), [("fail", "no such luck"), ("hang", "by itself does not end")])
def test_what_goes_wrong_with_ending_it_is_told_and_the_fault_taken_back(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, halt: str, said: str
) -> None:
    monkeypatch.setattr(timeline, "HALT_S", 0.1)
    world.moves["halt"] = getattr(world, halt)
    run = Run(tmp_path)
    assert said in str(run.error())
    assert not world.broken
    assert run.kinds()[-1] == "clear"


def test_an_injection_that_never_ends_is_told(world: World, tmp_path: Path) -> None:
    world.moves["inject"] = world.hang
    assert "took longer than the fault was to last" in str(Run(tmp_path).error())


def test_what_a_late_injection_does_is_taken_back_too(world: World, tmp_path: Path) -> None:
    def late() -> None:
        assert wait_for(lambda: world.mended == 1, timeout_s=5)
        world.broken = True

    world.moves["inject"] = late
    run = Run(tmp_path)
    assert "took longer" in str(run.error())
    assert (world.broken, world.mended) == (False, 2)


def test_a_revert_that_hangs_ends_with_the_manual_command(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restore, "REVERT_S", 0.3)
    world.moves["mend"] = world.hang
    error = Run(tmp_path).error()
    assert isinstance(error, NotRevertedError)
    assert "did not end within" in str(error)
    assert error.remedy == "by hand: mend --by hand"


def test_a_revert_that_fails_is_tried_again_and_then_told(world: World, tmp_path: Path) -> None:
    tries = []

    def fail() -> None:
        tries.append(time.monotonic())
        world.fail()

    world.moves["mend"] = fail
    error = Run(tmp_path).error()
    assert isinstance(error, NotRevertedError)
    assert len(tries) == restore.TRIES
    assert "could not take back: mend --by hand: no such luck" in str(error)
    assert ledger.read(tmp_path / "ledger.jsonl").undos, "it stays in the ledger"


def test_one_step_that_fails_does_not_keep_the_others(world: World, tmp_path: Path) -> None:
    world.broken = True
    book = Ledger(tmp_path / "ledger.jsonl")
    mark = UndoMark("x", 0, ({"do": "start-process"}, {"do": "mend-the-world"}))
    with pytest.raises(NotRevertedError):
        restore.revert(mark, book, None, by="guard")  # type: ignore[arg-type]
    assert not world.broken


def test_a_look_that_raised_and_then_saw_has_no_trouble(world: World) -> None:
    looks: Iterator[Callable[[], Any]] = iter([world.fail, lambda: False, lambda: True])
    sight = look_for(lambda: next(looks)(), 5.0)
    assert sight.seen
    assert sight.trouble == ""
