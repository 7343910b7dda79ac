"""Slow queries: statements of the target take longer inside PostgreSQL, without a change to the target."""

from __future__ import annotations

import time
from collections.abc import Sequence

from psycopg import errors

from harness.faults.base import Param, Undo
from harness.faults.families.database import MARGIN_S, DatabaseFault, database_fault
from harness.faults.lives import LIFE
from harness.faults.sql import end_sessions, execute, run, table_name
from harness.faults.timeline import FaultError

KEY = 0x4841524E
"""The advisory lock that the fault holds as long as it lasts."""

SLICE_S = 0.02
LOOKS = 50
ENOUGH_S = 1.0
"""A statement that is not done by then is slow, however slow it would be."""

_FUNCTION = """
create or replace function harness.slow() returns boolean language plpgsql as $$
declare until timestamptz := least(clock_timestamp() + interval '{delay_s} seconds', to_timestamp({deadline_s}));
begin
    -- Once per statement, however many tables and policies it meets.
    if current_setting('harness.slowed', true) = statement_timestamp()::text then
        return true;
    end if;
    perform set_config('harness.slowed', statement_timestamp()::text, false);
    if random() < {share} then
        -- Whoever gets this lock knows that the fault is over.
        while clock_timestamp() < until and not pg_try_advisory_xact_lock_shared({key}) loop
            perform pg_sleep(least({slice_s}, extract(epoch from until - clock_timestamp())));
        end loop;
    end if;
    return true;
end $$
"""
_USER_TABLES = """
select c.oid::regclass::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p') and not c.relispartition and c.relpersistence <> 't'
and n.nspname not in ('information_schema', 'harness') and not starts_with(n.nspname, 'pg_') order by c.oid
"""


@database_fault(
    "slow-queries",
    layer="tables",
    excludes=(LIFE,),
    params={
        "delay": Param("duration", "how much longer a statement takes", required=True, least=0.005, most=60),
        "share": Param("percentage", "how many of the statements are slow", default=1.0, least=0.01, most=1),
        "table": Param("string", "only statements that touch this table: `shop.orders`; absent: any table", default=""),
    },
)
class SlowQueries(DatabaseFault):
    """Statements take longer inside PostgreSQL, and hold their connection, transaction and locks meanwhile.

    Row-level security makes the server call a function once for each statement on a table, whoever sends it, and that
    function takes its time, as a bad plan or a slow disk would. It stops at once when the fault's session ends.
    """

    limits_superusers = False
    looks_as_target = True

    def get_ready(self) -> None:
        """Connect, and find the tables."""
        super().get_ready()
        self._delay_s = float(self.planned.params["delay"])
        self._holder = self._connect()
        asked = str(self.planned.params["table"])
        self._tables = (
            [table_name(self._holder, asked)] if asked else [name for (name,) in run(self._holder, _USER_TABLES)]
        )
        own = [table for table in self._tables if self._has_policies(table)]
        if own or not self._tables:
            raise FaultError(
                f"{', '.join(own)}: uses row-level security itself, with which this fault would interfere"
                if own
                else f"the database {self._client.database} has no tables",
                remedy="name another table with `table`",
            )

    def undo(self) -> Sequence[Undo]:
        """End the session, which ends the waiting; then take policies and function away."""
        statements = []
        for table in self._tables:
            statements += [
                f"alter table if exists {table} no force row level security, disable row level security",
                f"drop policy if exists harness_slow on {table}",
            ]
        statements += ["drop function if exists harness.slow", "drop schema if exists harness"]
        return [
            end_sessions(self._address, self._name),
            execute(self._address, self._client.database, *statements),
        ]

    def inject(self) -> None:
        """Let every statement pass by the function."""
        function = _FUNCTION.format(
            delay_s=self._delay_s,
            deadline_s=time.time() + self.planned.for_s + MARGIN_S,
            share=float(self.planned.params["share"]),
            key=KEY,
            slice_s=SLICE_S,
        )
        run(self._holder, "set lock_timeout = '5s'")
        run(self._holder, f"select pg_advisory_lock({KEY})")
        run(self._holder, "create schema if not exists harness")
        run(self._holder, function)
        run(self._holder, "grant usage on schema harness to public")
        for table in self._tables:
            with self._holder.transaction():
                slow = "(select harness.slow())"
                run(self._holder, f"create policy harness_slow on {table} using ({slow}) with check ({slow})")
                run(self._holder, f"alter table {table} enable row level security, force row level security")

    def halt(self) -> None:
        """Stop the waiting."""
        self._holder.close()

    def _is_there(self) -> bool:
        """One of several statements takes as long; gone, when the policy is."""
        if not self._has_policies(self._tables[-1]):
            return False
        return self._holder.closed or any(self._takes_long() for _ in range(LOOKS))

    def _takes_long(self) -> bool:
        enough_ms = round(1000 * min(0.9 * self._delay_s, ENOUGH_S))
        run(self._look, f"set statement_timeout = {enough_ms}")
        try:
            run(self._look, f"select from {self._tables[-1]} limit 1")
        except errors.QueryCanceled:
            return True
        finally:
            run(self._look, "reset statement_timeout")
        return False

    def _has_policies(self, table: str) -> bool:
        (row,) = run(
            self._look,
            "select relrowsecurity or exists (select from pg_policy where polrelid = c.oid) from pg_class c"
            " where c.oid = %s::regclass",
            table,
        )
        return bool(row[0])
