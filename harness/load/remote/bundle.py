"""What a load worker on another host needs of the conductor's files: the locustfile and everything beside it.

A locustfile imports modules and reads data files from its own folder, so the whole folder travels, without what is
hidden, cached or an environment. Anything outside of it has to be installed on the load hosts. Traces that the load
replays travel too, wherever they are.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Final

from harness.errors import LoadError
from harness.plan import Load

MAX_BYTES: Final = 16 << 20
"""A larger folder is refused: it is a whole project, not what a locustfile needs."""

_SKIPPED: Final = ("__pycache__", "node_modules")
_LOCUST: Final = "locust"
_TRACES: Final = "traces"


def pack(load: Load) -> tuple[Load, dict[str, Path]]:
    """`load` with relative names for its files, and the file that each of these names and everything beside it is.

    Raises `LoadError` when a file cannot be read or there is too much.
    """
    locustfile = Path(load.locustfile).resolve()
    files = {f"{_LOCUST}/{path.relative_to(locustfile.parent).as_posix()}": path for path in _beside(locustfile)}
    try:
        total = sum(path.stat().st_size for path in files.values())
    except OSError as error:
        raise LoadError(f"cannot read what the locustfile may need: {error}") from error
    if total > MAX_BYTES:
        raise LoadError(
            f"{locustfile.parent} holds {total >> 20} MiB; the folder of the locustfile travels to every load host",
            remedy=f"put it, with what it imports and reads, into a folder of at most {MAX_BYTES >> 20} MiB",
        )
    traces = []
    for number, trace in enumerate(load.traces):
        name = f"{_TRACES}/{number}-{Path(trace.file).name}"
        files[name] = Path(trace.file).resolve()
        traces.append(replace(trace, file=name))
    return replace(load, locustfile=f"{_LOCUST}/{locustfile.name}", traces=tuple(traces)), files


def unpacked(load: Load, folder: Path) -> Load:
    """`load` with the names that `pack` gave made paths below `folder`."""
    traces = tuple(replace(trace, file=str(place(trace.file, folder))) for trace in load.traces)
    return replace(load, locustfile=str(place(load.locustfile, folder)), traces=traces)


def place(name: str, folder: Path) -> Path:
    """Where the file `name` of a bundle belongs below `folder`. Raises `LoadError` for a name that leads out of it."""
    path = PurePosixPath(name)
    if path.is_absolute() or not path.parts or ".." in path.parts or "\0" in name:
        raise LoadError(f"the conductor sent a file with the name {name!r}, which does not belong below a folder")
    return folder.joinpath(*path.parts)


def _beside(locustfile: Path) -> Iterator[Path]:
    yield locustfile
    for folder, folders, files in os.walk(locustfile.parent):
        here = Path(folder)
        folders[:] = sorted(name for name in folders if not _is_skipped(here / name))
        for name in sorted(files):
            path = here / name
            if not name.startswith(".") and path != locustfile and path.is_file():
                yield path


def _is_skipped(folder: Path) -> bool:
    name = folder.name
    return name.startswith(".") or name in _SKIPPED or (folder / "pyvenv.cfg").exists()
