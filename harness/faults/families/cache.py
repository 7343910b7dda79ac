"""Cache faults: what happens to Redis (or a server that speaks its protocol)."""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from redis import Redis
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from harness.faults.base import Fault, FaultableStack, Param, Undo
from harness.faults.catalogue import fault
from harness.faults.lives import LIFE
from harness.faults.undo import continue_process, undo_action
from harness.faults.watched import SETTLING_S, is_paired, start_behind_primary
from harness.plan import PlannedFault
from harness.probes import probe, refused, split
from harness.processes import Processes
from harness.redis_calls import attempt, connect

_SAMPLE = 200
"""Keys that are weighed to know what the data takes."""

on_redis = partial(
    fault, family="cache", place="component", default_place="redis", capability="process", protocol="redis"
)
"""Registers a fault of a Redis server."""


@on_redis("redis-down")
class RedisDown(Fault):
    """Redis dies (SIGKILL), and is started again at the end: empty, or as replica of what sentinels have promoted."""

    takes_out = True

    def __init__(self, planned: PlannedFault, stack: FaultableStack) -> None:
        super().__init__(planned, stack)
        self._is_watched = bool(stack.sentinels(planned.component))
        if self._is_watched:
            self.clear_s = SETTLING_S

    def undo(self) -> Sequence[Undo]:
        """Start the server again at its old address: behind another one, if sentinels have promoted that meanwhile."""
        if self._is_watched:
            return [start_behind_primary(self.stack, self.planned.component)]
        return [self.stack.start_undo(self.planned.component)]

    def inject(self) -> None:
        """Kill the server process."""
        self.stack.kill(self.planned.component)

    def is_active(self) -> bool:
        """Nothing listens at its address any more."""
        return refused(self.stack.address(self.planned.component))

    def is_clear(self) -> bool:
        """It answers PING at its address; under sentinels, it is the primary or has what the primary has."""
        if self._is_watched:
            return is_paired(self.stack, self.planned.component)
        return probe("redis", self.stack.address(self.planned.component)).ok


@on_redis("redis-restart-empty", momentary=True)
class RedisRestartEmpty(RedisDown):
    """Redis is killed and started again at once: connections break, and everything that it knew is gone."""

    takes_out = True

    def prepare(self) -> None:
        """Note which process answers now."""
        self._before = self._run()

    def inject(self) -> None:
        """Kill the server process and start another one in its place."""
        super().inject()
        self.stack.spawn(self.stack.command(self.planned.component))

    def is_active(self) -> bool:
        """Another process than before answers at its address."""
        return self._run() != self._before

    def _run(self) -> str:
        with connect(self.stack.address(self.planned.component)) as server:
            return str(server.info("server")["run_id"])


@on_redis("flush", layer="data", excludes=(LIFE,), momentary=True)
class Flush(Fault):
    """Redis forgets every key (FLUSHALL): all that was cached is asked for again at once, a stampede."""

    def __init__(self, planned: PlannedFault, stack: FaultableStack) -> None:
        super().__init__(planned, stack)
        self._address = stack.address(planned.component)
        self._lost = 0

    def undo(self) -> Sequence[Undo]:
        """Nothing: what is gone is gone, and the clients of the cache fill it again."""
        return []

    def inject(self) -> None:
        """Empty all databases, and count in the same transaction what they held in the first one."""
        with connect(self._address) as server, server.pipeline(transaction=True) as both:
            before, _, after = both.dbsize().flushall().dbsize().execute()
        self._lost = before - after

    def is_active(self) -> bool:
        """Keys were lost: an empty cache cannot be emptied."""
        return self._lost > 0

    def is_clear(self) -> bool:
        """It answers PING."""
        return probe("redis", self._address).ok


@on_redis(
    "redis-pause",
    params={
        "what": Param(
            "choice",
            "everything: the process stands still, connecting works and nothing is answered (SIGSTOP); "
            "writes: reads are served, writes wait (CLIENT PAUSE WRITE), as before a planned switch to another server",
            default="everything",
            choices=("everything", "writes"),
        )
    },
)
class RedisPause(Fault):
    """Redis accepts connections and does not answer, then goes on where it was."""

    takes_out = True

    # CLIENT PAUSE ALL would be an undo that does not work: the server holds back the CLIENT UNPAUSE as well.

    def __init__(self, planned: PlannedFault, stack: FaultableStack) -> None:
        super().__init__(planned, stack)
        self._address = stack.address(planned.component)
        self._writes_only = planned.params["what"] == "writes"

    def undo(self) -> Sequence[Undo]:
        """Let it go on."""
        if self._writes_only:
            return [redis_command(self._address, "CLIENT", "UNPAUSE")]
        return [continue_process(self.stack.mark(self.planned.component))]

    def inject(self) -> None:
        """Stop the process, or have the server hold back writes: that ends by itself a while after the fault's end."""
        if self._writes_only:
            with connect(self._address) as server:
                server.client_pause(round((self.planned.for_s + self.clear_s) * 1000), all=False)
        elif process := self.stack.mark(self.planned.component).find():
            process.send_signal(signal.SIGSTOP)

    def is_active(self) -> bool:
        """No answer comes to what is paused."""
        return self._answer() is RedisTimeoutError

    def is_clear(self) -> bool:
        """What was paused is answered."""
        return self._answer() is None

    def _answer(self) -> type[RedisError] | None:
        # Deleting a key that is not there is a write to the server all the same.
        return attempt(self._address, *(("DEL", _probe_key(self)) if self._writes_only else ("PING",)), timeout_s=0.2)


@on_redis(
    "maxmemory",
    layer="data",
    excludes=(LIFE,),
    params={
        "policy": Param(
            "choice",
            "noeviction: every write is refused (OOM); the others: keys are evicted, chosen as Redis does by that name",
            default="noeviction",
            choices=("noeviction", "allkeys-lru", "allkeys-lfu", "allkeys-random", "volatile-ttl", "volatile-lru"),
        ),
        "keep": Param(
            "percentage",
            "with eviction: about how much of its data the memory suffices for, measured when the fault begins",
            default=0.5,
            least=0.0,
            most=0.95,
        ),
    },
)
class Maxmemory(Fault):
    """Redis may use less memory than it needs: it refuses all writes, or evicts keys."""

    def __init__(self, planned: PlannedFault, stack: FaultableStack) -> None:
        super().__init__(planned, stack)
        self._address = stack.address(planned.component)
        self._policy = str(planned.params["policy"])
        self._before: dict[str, str] = {}
        self._limit_bytes = 0
        self._evicted = 0

    def prepare(self) -> None:
        """Read the settings as they are, and weigh the data."""
        with connect(self._address) as server:
            self._before = server.config_get("maxmemory", "maxmemory-policy")
            memory = server.info("memory")
            if self._policy == "noeviction":
                # Less than the server takes without any data: nothing that clients do brings it below.
                self._limit_bytes = int(memory["used_memory_startup"]) // 2
            else:
                spared = _data_bytes(server) * (1.0 - float(self.planned.params["keep"]))
                self._limit_bytes = int(memory["used_memory"] - spared)
            self._evicted = self._evictions(server)

    def undo(self) -> Sequence[Undo]:
        """Set both settings to what they were."""
        return [redis_command(self._address, "CONFIG", "SET", *_flat(self._before))]

    def inject(self) -> None:
        """Set the limit and the policy."""
        with connect(self._address) as server:
            server.config_set("maxmemory-policy", self._policy, "maxmemory", self._limit_bytes)

    def is_active(self) -> bool:
        """A write is refused, or keys have been evicted."""
        with connect(self._address) as server:
            return self._evictions(server) > self._evicted or self._write() is not None

    def is_clear(self) -> bool:
        """A write is accepted, and the server has as much memory as it uses."""
        with connect(self._address) as server:
            memory = server.info("memory")
        enough = not memory["maxmemory"] or memory["used_memory"] <= memory["maxmemory"]
        return enough and self._write() is None

    def _write(self) -> type[RedisError] | None:
        return attempt(self._address, "SET", _probe_key(self), "", "PX", "1")

    @staticmethod
    def _evictions(server: Redis) -> int:
        return int(server.info("stats")["evicted_keys"])


def redis_command(address: str, *words: str) -> Undo:
    """Undo data: have the Redis server at `address` carry out a command."""
    return {"do": "redis-command", "address": address, "words": list(words)}


def _by_hand(step: Mapping[str, Any]) -> str:
    host, port = split(step["address"])
    code = f"import redis; print(redis.Redis({host!r}, {port}).execute_command(*{list(step['words'])!r}))"
    return shlex.join([sys.executable, "-c", code])


@undo_action("redis-command", _by_hand)
def _redis_command(step: Mapping[str, Any], _processes: Processes) -> None:
    with connect(step["address"]) as server:
        server.execute_command(*step["words"])


def _data_bytes(server: Redis) -> float:
    """About what the keys and their values take."""
    keys = [server.randomkey() for _ in range(_SAMPLE)]
    sizes = [size for key in keys if key is not None and (size := server.memory_usage(key)) is not None]
    return sum(sizes) / max(1, len(sizes)) * server.dbsize()


def _probe_key(fault: Fault) -> str:
    return f"harness:probe:{fault.planned.id}"


def _flat(settings: Mapping[str, str]) -> list[str]:
    return [word for setting in settings.items() for word in setting]
