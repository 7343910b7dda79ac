"""Signals: one interrupts, the rest are remembered, clean-up runs to its end."""

import subprocess
import sys
import textwrap


def _run(code: str) -> str:
    """In a process of its own, because signal handlers are the process's."""
    head = "import os, signal\nfrom harness import interrupt\ninterrupt.install()\nme = os.getpid()\n"
    done = subprocess.run(
        [sys.executable, "-c", head + textwrap.dedent(code)], capture_output=True, text=True, check=True, timeout=30
    )
    assert "Traceback" not in done.stderr
    return done.stdout.strip()


def test_the_first_signal_interrupts_and_later_ones_do_not() -> None:
    out = _run("""
        try:
            os.kill(me, signal.SIGINT)
        except interrupt.Interrupted as error:
            os.kill(me, signal.SIGTERM)
            print(error, interrupt.came())
    """)
    assert out == "SIGINT True"


def test_what_is_held_runs_to_its_end() -> None:
    out = _run("""
        try:
            with interrupt.held():
                os.kill(me, signal.SIGTERM)
                print("cleaned up")
            print("not reached")
        except interrupt.Interrupted as error:
            print(error)
    """)
    assert out.splitlines() == ["cleaned up", "SIGTERM"]


def test_held_does_not_hide_the_error_that_is_on_its_way() -> None:
    out = _run("""
        try:
            try:
                raise ValueError("first")
            finally:
                with interrupt.held():
                    os.kill(me, signal.SIGINT)
        except ValueError as error:
            print(error, interrupt.came())
    """)
    assert out == "first True"


def test_a_signal_swallowed_by_a_finaliser_is_not_lost() -> None:
    out = _run("""
        class Grave:
            def __del__(self):
                os.kill(me, signal.SIGINT)
                for _ in range(1000):
                    pass
        Grave()
        try:
            interrupt.check()
        except interrupt.Interrupted as error:
            print(error)
    """)
    assert out == "SIGINT"


def test_under_nohup_the_end_of_the_terminal_means_nothing() -> None:
    out = _run("""
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        interrupt.install()
        os.kill(me, signal.SIGHUP)
        interrupt.shield()
        os.kill(me, signal.SIGHUP)
        print(interrupt.came())
    """)
    assert out == "False"


def test_installing_again_makes_it_interruptible_again() -> None:
    out = _run("""
        interrupt.shield()
        os.kill(me, signal.SIGINT)
        interrupt.install()
        try:
            os.kill(me, signal.SIGINT)
        except interrupt.Interrupted:
            print("interrupted")
    """)
    assert out == "interrupted"
