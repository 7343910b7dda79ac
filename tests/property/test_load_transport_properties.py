"""Whatever a network does to messages, the rows of a worker arrive exactly as they were written."""

import random

from hypothesis import given
from hypothesis import strategies as st

from harness.clock import NS
from harness.load.remote.transport import CHUNK_BYTES, Inbox, Outbox

PIECES = st.lists(
    st.tuples(st.sampled_from(["rows", "names"]), st.integers(0, 400), st.booleans()), min_size=1, max_size=60
)


class Network:
    """Loses, doubles, delays (so that order changes) and damages messages, until `calm`."""

    def __init__(self, seed, loss, doubling, damage):
        self._random = random.Random(seed)
        self._loss, self._doubling, self._damage = loss, doubling, damage
        self._flying = []
        self.calm = False

    def send(self, message):
        chance = self._random.random
        if self.calm:
            self._flying.append(dict(message))
            return
        if chance() < self._loss:
            return
        for _ in range(2 if chance() < self._doubling else 1):
            sent = dict(message)
            if "data" in sent and chance() < self._damage:
                field = self._random.choice(["data", "seq", "part", "arm", "checksum"])
                sent[field] = _damaged(sent[field], self._random)
            self._flying.insert(self._random.randint(0, len(self._flying)), sent)

    def deliver(self):
        count = len(self._flying) if self.calm else self._random.randint(0, len(self._flying))
        arrived, self._flying = self._flying[:count], self._flying[count:]
        return arrived


def _damaged(value, chance):
    if isinstance(value, bytes):
        if not value:
            return b"\0"
        at = chance.randrange(len(value))
        return value[:at] + bytes([value[at] ^ (1 << chance.randrange(8))]) + value[at + 1 :]
    return value + 1 if isinstance(value, int) else chance.choice([value + "x", None, 7])


@given(
    pieces=PIECES,
    seed=st.integers(0, 2**32),
    loss=st.floats(0, 0.9),
    doubling=st.floats(0, 1),
    damage=st.floats(0, 0.5),
)
def test_everything_arrives_once_and_in_order(pieces, seed, loss, doubling, damage, tmp_path_factory):
    path = tmp_path_factory.mktemp("sent") / "file"
    forth, back = Network(seed, loss, doubling, damage), Network(seed + 1, loss, doubling, 0)
    outbox, inbox = Outbox(), Inbox()
    sent, arrived, written = [], [], 0
    now_ns, turn = 0, 0
    with path.open("ab", buffering=0) as file:
        while len(sent) < len(pieces) or not outbox.empty:
            if len(sent) < len(pieces):
                part, size, from_file = pieces[len(sent)]
                data = random.Random(len(sent)).randbytes(size)
                if from_file and data:
                    file.write(data)
                    outbox.put_file("arm-1", part, path, written, written + size)
                    written += size
                else:
                    outbox.put("arm-1", part, data)
                sent.append(("arm-1", part, data))
            turn += 1
            forth.calm = back.calm = turn > 300
            now_ns += NS // 5
            for chunk in outbox.due(now_ns):
                forth.send(chunk.to_message())
            for message in forth.deliver():
                chunk = inbox.accept(message)
                if chunk is not None:
                    arrived.append((chunk.arm, chunk.part, chunk.data))
                back.send({"expected": inbox.expected})
            for message in back.deliver():
                outbox.acknowledge(message["expected"], now_ns)
            assert turn < 2_000, "the stream came to a standstill"
    assert arrived == sent


@given(st.lists(st.integers(0, 3 * CHUNK_BYTES), min_size=1, max_size=4))
def test_large_data_goes_in_bounded_chunks(sizes):
    outbox, inbox = Outbox(), Inbox()
    whole = [random.Random(i).randbytes(size) for i, size in enumerate(sizes)]
    for data in whole:
        outbox.put("", "rows", data)
    arrived = b""
    for turn in range(100):
        for chunk in outbox.due(turn * 2 * NS):
            assert len(chunk.data) <= CHUNK_BYTES
            taken = inbox.accept(chunk.to_message())
            arrived += taken.data if taken else b""
        outbox.acknowledge(inbox.expected, turn * 2 * NS)
    assert outbox.empty
    assert arrived == b"".join(whole)
