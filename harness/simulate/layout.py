"""The arrays of the event loop: what each column holds, and the world that they make together."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

FOREVER: Final = 1 << 62
"""A time that never comes."""

# What a step does. Columns of `ops`: the word, two operands, where to go on after a failure.
WORK: Final = 0  # a: distribution
TAKE: Final = 1  # a: resource
GIVE: Final = 2  # a: resource
CALL: Final = 3  # a: call
RETURN: Final = 4  # a: 1 when it went well
JUMP: Final = 5  # a: the step to go on with
LOOKUP: Final = 6  # a: cache, b: the step to go on with when the key is there
FILL: Final = 7  # a: cache
SHED: Final = 8  # a: ns a request may have waited for its worker
OP: Final = 0
A: Final = 1
B: Final = 2
FAIL: Final = 3

# Columns of `jobs`.
PC: Final = 0
GEN: Final = 1
STATE: Final = 2
COMPONENT: Final = 3
REPLICA: Final = 4
PARENT: Final = 5
PARENT_GEN: Final = 6
PREVIOUS: Final = 7  # neighbours in the queue of a resource
NEXT: Final = 8
RESOURCE: Final = 9  # the one that is waited for
SINCE: Final = 10  # when the wait began; after a TAKE how long it lasted
TRY: Final = 11  # of the call that is being made: 0, 1, ...
ROUNDS: Final = 12  # round trips that are still to come before the callee begins
KEY: Final = 13
ARRIVAL: Final = 14  # clients only, from here on
ENDPOINT: Final = 15
WANTED: Final = 16
START: Final = 17
FIRST_ROW: Final = 18
USER: Final = 19
JOB_COLUMNS: Final = 20

FREE: Final = 0
RUNNING: Final = 1
DELAYED: Final = 2
QUEUED: Final = 3
CALLING: Final = 4
BACKING_OFF: Final = 5

# Columns of `resources`.
CAPACITY: Final = 0  # -1: no limit
IN_USE: Final = 1
HEAD: Final = 2
TAIL: Final = 3
WAITING: Final = 4
WAIT_NS: Final = 5  # how long a job waits before it is refused
BOUND: Final = 6  # how many may wait, -1: no limit
WAITED_NS: Final = 7
RESOURCE_COLUMNS: Final = 8

# Columns of `components`.
REPLICAS: Final = 0
FIRST_REPLICA: Final = 1  # index into `replicas`
DOWN: Final = 2
TURN: Final = 3
BALANCE: Final = 4
FIRST_RESOURCE: Final = 5
RESOURCES: Final = 6  # kinds of them; those of a kind lie together, one per replica
COMPONENT_COLUMNS: Final = 7
ROUND_ROBIN: Final = 0
RANDOM: Final = 1
LEAST_BUSY: Final = 2
CONNECTION: Final = 3  # a user keeps the replica that it drew until a request of it times out

# Columns of `replicas`.
REQUESTS: Final = 0
ERRORS: Final = 1
REPLICA_COLUMNS: Final = 2

# Columns of `calls`.
CALLEE: Final = 0
PROGRAM: Final = 1  # first step at the callee
TRIPS: Final = 2
TIMEOUT_NS: Final = 3
EDGE: Final = 4
RETRIES: Final = 5
BACKOFF_NS: Final = 6  # 0: at once
CAP_NS: Final = 7
BREAKER: Final = 8  # -1: none
BUDGET: Final = 9  # index of the first of `budgets`, one per load worker; -1: none
COUNTER: Final = 10  # index of the first of `attempts`, one per replica of the caller
CALL_COLUMNS: Final = 11

# Columns of `edges`.
TRIP_NS: Final = 0
LATENCY_NS: Final = 1
JITTER_NS: Final = 2
LATE_UNTIL_NS: Final = 3
LATE_FROM_NS: Final = 4  # when the next latency begins
EDGE_COLUMNS: Final = 5

# Columns of `breakers`: one row per breaker and replica of its caller.
LIMIT: Final = 0
RESET_NS: Final = 1
FAILURES: Final = 2
OPENED_NS: Final = 3  # -1: closed
ON_TRIAL: Final = 4
BREAKER_COLUMNS: Final = 5

# Columns of `caches`.
FIRST_KEY: Final = 0  # index into `filled_ns`
KEYS: Final = 1
STAYS_NS: Final = 2
CACHE_COLUMNS: Final = 3

# Columns of `budgets`.
TOKENS: Final = 0
DEPOSIT: Final = 1
MOST: Final = 2

# Columns of `controls`: what is done to the system at planned times.
AT_NS: Final = 0
CONTROL: Final = 1
WHERE: Final = 2
VALUE: Final = 3
VALUE2: Final = 4
UNTIL_NS: Final = 5
CONTROL_COLUMNS: Final = 6
SET_LATENCY: Final = 0  # an edge, latency, jitter, until
SET_DOWN: Final = 1  # a component
SET_UP: Final = 2  # a component
SET_CAPACITY: Final = 3  # a resource of one replica, places
EMPTY_CACHE: Final = 4  # a cache

# How an attempt ended; `harness.simulate.arm` has the record's words for these.
OK: Final = 0
TIMEOUT: Final = 1
CONNECT: Final = 2
RESET: Final = 3
REFUSED: Final = 4
DROPPED: Final = 5
OPEN_CIRCUIT: Final = 6

# Columns of `rows`.
ROW_FIRST: Final = 0
ROW_TRY: Final = 1
ROW_ENDPOINT: Final = 2
ROW_WANTED: Final = 3
ROW_START: Final = 4
ROW_END: Final = 5
ROW_OUTCOME: Final = 6
ROW_WORKER: Final = 7
ROW_COLUMNS: Final = 8

# Columns of `distributions` (floats).
SHAPE: Final = 0
MEAN_NS: Final = 1
SPREAD: Final = 2
FIRST: Final = 3  # of an empirical one's quantiles in `quantiles`
COUNT: Final = 4
DISTRIBUTION_COLUMNS: Final = 5
CONSTANT: Final = 0
EXPONENTIAL: Final = 1
LOGNORMAL: Final = 2  # SPREAD: sd of the logarithm
EMPIRICAL: Final = 3

# Columns of `gauges`: the array that is read, its row, its column.
OF_RESOURCE: Final = 0
OF_REPLICA: Final = 1
OF_ATTEMPTS: Final = 2
OF_BREAKER: Final = 3
OF_CLOCK: Final = 4
GAUGE_COLUMNS: Final = 3

# Events: time, order, what, generation. What is job * 64 + kind * 8 + outcome.
RESUME: Final = 0
ANSWER: Final = 1
EXPIRE: Final = 2  # a call's timeout
GIVE_UP: Final = 3  # a wait's limit
AGAIN: Final = 4  # the end of a backoff
BEGIN: Final = 5  # the callee begins, or another round trip

# Scalars in `clock`.
NOW: Final = 0
ORDER: Final = 1
HEAP_SIZE: Final = 2
FREE_JOB: Final = 3
FREE_JOBS: Final = 4
READY_HEAD: Final = 5
READY_SIZE: Final = 6
ROWS: Final = 7
NEXT_ARRIVAL: Final = 8
NEXT_CONTROL: Final = 9
NEXT_TICK: Final = 10
TICKS: Final = 11
ARRIVED: Final = 12  # arrivals of earlier batches
FINISHED: Final = 13
FAILED: Final = 14
ATTEMPTS: Final = 15
EVENTS: Final = 16
CLOCK_SIZE: Final = 17

# Why `advance` came back.
DONE: Final = 0  # everything up to the given instant has happened
ROOM_FOR_ROWS: Final = 1
ROOM_FOR_JOBS: Final = 2
ROOM_FOR_EVENTS: Final = 3

NOBODY: Final = -1
"""No job."""


class World(NamedTuple):
    """Everything there is, as arrays; see the column constants above for what they hold."""

    ops: Ints
    jobs: Ints
    resources: Ints
    components: Ints
    replicas: Ints
    calls: Ints
    edges: Ints
    breakers: Ints
    budgets: Floats  # one row per budget and load worker
    attempts: Ints  # calls made, per call and replica of the caller
    caches: Ints
    filled_ns: Ints  # per key: when it was put there, or long ago
    distributions: Floats
    quantiles: Floats
    controls: Ints
    programs: Ints  # per endpoint: the client's first step
    users: Ints  # per user: the replica its connection goes to, -1 for none
    heap: Ints
    ready: Ints
    rows: Ints
    clock: Ints
    gauges: Ints
    ticks: Ints  # one row per reading of all gauges
    tick_ns: int
    workers: int
    keep_every: int
