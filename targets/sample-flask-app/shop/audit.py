"""Look up orders by their idempotency keys: `python -m shop.audit`, with one key on each line of standard input.

DATABASE_URL names the database that the shop uses now. Prints a JSON object: `missing`, the keys without an order;
`doubled`, those with more than one (the table forbids that; the audit does not believe it); `unacknowledged`, how many
orders there are besides, those that `shop.reset` made left out.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable

import psycopg


def main() -> None:
    """Print what became of the orders."""
    keys = [line.rstrip("\n") for line in sys.stdin if line.strip()]
    sys.stdout.write(json.dumps(look_up(os.environ["DATABASE_URL"], keys)) + "\n")


def look_up(url: str, keys: Iterable[str]) -> dict[str, object]:
    """`missing`, `doubled` and `unacknowledged`, as above. Raises psycopg.Error."""
    with psycopg.connect(url, connect_timeout=5) as connection:
        # Rows, not what an index says: a damaged one is what might have let a second order in.
        connection.execute("set enable_indexscan = off")
        connection.execute("set enable_indexonlyscan = off")
        rows = connection.execute(
            "select key, count(*) from shop.orders where not starts_with(key, 'seed-') group by key"
        ).fetchall()
    found = {key: int(count) for key, count in rows}
    asked = dict.fromkeys(keys)
    return {
        "missing": [key for key in asked if key not in found],
        "doubled": [key for key in asked if found.get(key, 0) > 1],
        "unacknowledged": len(found.keys() - asked.keys()),
    }


if __name__ == "__main__":
    main()
