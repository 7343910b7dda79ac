"""The audit of the shop finds orders that are gone and orders that are there twice, in the real PostgreSQL."""

from collections.abc import Iterator

import psycopg
import pytest
import requests
from stack_bench import SHOP, Bench

from harness.errors import StackError
from harness.scenario.manifest import Target, load_target
from harness.stack.audit import Found


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with Bench(tmp_path_factory.mktemp("audit") / "run-audit").booted() as bench:
        yield bench


def place(bench: Bench, *keys: str) -> None:
    for key in keys:
        answer = requests.post(
            f"{bench.stack.url}/checkout", json={"product": 1}, headers={"Idempotency-Key": key}, timeout=5
        )
        assert answer.status_code == 201


def execute(bench: Bench, statement: str) -> None:
    with psycopg.connect(bench.stack.server_url("postgres")) as connection:
        connection.execute(statement)


def test_what_is_gone_or_there_twice_is_found(bench: Bench) -> None:
    place(bench, "here", "gone", "twice", "untold")
    asked = ["here", "gone", "twice", "never"]
    assert bench.stack.audit(asked) == Found(("never",), (), 1)
    execute(bench, "delete from shop.orders where key = 'gone'")
    execute(bench, "alter table shop.orders drop constraint orders_key_key")
    execute(
        bench,
        "insert into shop.orders (key, product_id, quantity, total_cents)"
        " select key, product_id, quantity, total_cents from shop.orders where key = 'twice'",
    )
    assert bench.stack.audit(asked) == Found(("gone", "never"), ("twice",), 1)
    assert bench.stack.audit([]) == Found((), (), 3)
    assert "audit" not in bench.processes.dead()


def with_audit(*command: str) -> Target:
    shop = load_target(SHOP)
    assert shop.audit is not None
    return shop.model_copy(update={"audit": shop.audit.model_copy(update={"command": command})})


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("import sys; sys.exit('no such table')", "no such table"),
        ("print('all fine')", "something unexpected: `all fine`"),
        ("import json; print(json.dumps(dict(missing=[])))", "something unexpected"),
        ("import json; print(json.dumps(dict(missing=['other'], doubled=[])))", "`other`, which it was not asked for"),
    ],
)
def test_an_audit_that_fails_has_found_nothing(bench: Bench, script: str, said: str) -> None:
    bench.stack.target = with_audit("{python}", "-c", script)
    try:
        with pytest.raises(StackError, match=said):
            bench.stack.audit(["here"])
    finally:
        bench.stack.target = bench.target
