"""The tasks of a locustfile with their share of the arrivals, found in a process of its own.

    python -m harness.load.tasks FILE USERS

prints a JSON object: task -> weight, in the order in which the pacer draws them. To know them the file must be
imported, and Locust changes the interpreter that imports it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from harness.errors import LoadError

_TIMEOUT_S = 60.0


def tasks_of(locustfile: Path, users: int) -> dict[str, float]:
    """Task (by function name) -> weight, for a pool of `users`. Raises LoadError for a file that can't be loaded."""
    command = [sys.executable, "-m", "harness.load.tasks", str(locustfile), str(users)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_TIMEOUT_S)
    except subprocess.TimeoutExpired as error:
        raise LoadError(f"{locustfile}: importing it took more than {_TIMEOUT_S:.0f} s") from error
    if done.returncode != 0:
        raise LoadError(done.stderr.strip() or f"{locustfile}: cannot be loaded")
    return {str(task): float(weight) for task, weight in json.loads(done.stdout.splitlines()[-1]).items()}


def main(path: Path, users: int) -> int:
    """What the process does; the exit code."""
    from harness.load.locustfile import describe, load_user_classes

    try:
        found = describe(load_user_classes(path), path, users)
    except LoadError as error:
        sys.stderr.write(str(error))
        return 1
    weights: dict[str, float] = {}
    for task, weight in zip(found.tasks, found.weights, strict=True):
        weights[task.title] = weights.get(task.title, 0.0) + weight
    sys.stdout.write("\n" + json.dumps(weights) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
