"""A hosts file of its own for one process and its children: its view of /etc/hosts is another file.

    python -I -m harness.faults.private_hosts FILE -- COMMAND...      run a command with that view
    python -I -m harness.faults.private_hosts --of PID NAME           resolve a name as that process does

A mount namespace of its own (and a user namespace, where one is no superuser) in which FILE is mounted over /etc/hosts;
nobody else sees it. Changing FILE in place changes what names mean there at once. Source: namespaces(7), mount(2).
"""

from __future__ import annotations

import ctypes
import functools
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

HOSTS = "/etc/hosts"
_NEW_MOUNTS, _NEW_USERS = 0x00020000, 0x10000000
_BIND, _RECURSIVE, _PRIVATE = 0x1000, 0x4000, 0x40000
_PATIENCE_S = 2.0
_MODULE = "harness.faults.private_hosts"


def with_hosts(hosts: Path, argv: Sequence[str]) -> tuple[str, ...]:
    """The command that runs `argv` with `hosts` as its hosts file."""
    return (sys.executable, "-I", "-m", _MODULE, str(hosts), "--", *argv)


def resolves(name: str, pid: int) -> bool:
    """Whether a running process that was started like this can resolve a name now."""
    argv = (sys.executable, "-I", "-m", _MODULE, "--of", str(pid), name)
    return subprocess.run(argv, capture_output=True, check=False, timeout=30).returncode == 0


@functools.cache
def unable() -> str:
    """Why this machine can't give a process a hosts file of its own that decides about names; "" when it can."""
    with tempfile.TemporaryDirectory(prefix="harness-hosts-") as folder:
        hosts = Path(folder) / "hosts"
        hosts.write_text("127.0.0.1 here.test\n", encoding="utf-8")
        look = "import socket, sys; socket.gethostbyname(sys.argv[1])"
        for name, found in (("here.test", True), ("gone.test", False)):
            started = time.monotonic()
            argv = with_hosts(hosts, (sys.executable, "-I", "-c", look, name))
            try:
                done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=10 * _PATIENCE_S)
            except subprocess.TimeoutExpired:
                return "its resolver does not answer"
            if (done.returncode == 0) is not found:
                return (done.stderr.strip().splitlines() or ["its resolver does not go by /etc/hosts"])[-1]
            if not found and time.monotonic() - started > _PATIENCE_S:
                return f"its resolver takes more than {_PATIENCE_S:.0f} s to say that there is no such name"
    return ""


def _take_view(hosts: str) -> None:
    """Have this process see `hosts` as /etc/hosts. Raises OSError."""
    uid, gid = os.geteuid(), os.getegid()
    try:
        _call("unshare", _NEW_MOUNTS)
    except PermissionError:
        _call("unshare", _NEW_MOUNTS | _NEW_USERS)
        Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
        Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1", encoding="ascii")
        Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1", encoding="ascii")
    _call("mount", b"none", b"/", None, _RECURSIVE | _PRIVATE, None)
    _call("mount", os.fsencode(hosts), os.fsencode(HOSTS), None, _BIND, None)


def _share_view(pid: int) -> None:
    """Have this process see what another one sees. Raises OSError."""
    for kind in ("user", "mnt"):
        theirs = f"/proc/{pid}/ns/{kind}"
        if os.stat(theirs).st_ino != os.stat(f"/proc/self/ns/{kind}").st_ino:  # noqa: PTH116  a link to no path
            descriptor = os.open(theirs, os.O_RDONLY)
            _call("setns", descriptor, 0)
            os.close(descriptor)


def _call(name: str, *arguments: object) -> None:
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def main(argv: list[str]) -> None:
    """See the module; the exit code is 1 when a name can't be resolved."""
    if argv[0] == "--of":
        _share_view(int(argv[1]))
        try:
            socket.getaddrinfo(argv[2], None)
        except socket.gaierror as error:
            sys.exit(str(error))
        return
    _take_view(argv[0])
    os.execvp(argv[2], argv[2:])


if __name__ == "__main__":
    main(sys.argv[1:])
