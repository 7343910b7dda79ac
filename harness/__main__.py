"""The `harness` command. Signals are dealt with before anything slow is imported."""

from __future__ import annotations

import sys
import traceback

from harness import interrupt
from harness.exits import Exit


def main() -> None:
    """Run the command line and end the process with one of `harness.exits`."""
    interrupt.install()
    try:
        code = _run()
    except interrupt.Interrupted:
        sys.stderr.write("harness: interrupted\n")
        code = Exit.INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has had enough (`harness plan ... | head`): not an error of ours.
        sys.stderr.close()
        code = Exit.PASS
    except Exception:  # noqa: BLE001  a mistake in the harness must not look like a failed hypothesis (code 1)
        traceback.print_exc()
        sys.stderr.write("harness: this is a mistake in the harness itself; if it left anything: harness rollback\n")
        code = Exit.INVALID
    sys.exit(int(code))


def _run() -> int:
    import click

    from harness.cli import cli
    from harness.errors import HarnessError

    try:
        code = cli(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except HarnessError as error:
        click.echo(f"harness: {error}", err=True)
        return int(error.exit_code)
    return int(code or 0)


if __name__ == "__main__":
    main()
