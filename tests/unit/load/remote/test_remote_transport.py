import pytest

from harness.clock import NS
from harness.load.remote.transport import Chunk, Inbox, Outbox


def filled(count=40):
    outbox = Outbox()
    for number in range(count):
        outbox.put("arm", "rows", bytes([number]))
    return outbox


def test_no_more_is_under_way_than_the_window_allows():
    outbox = filled()
    first = outbox.due(0)
    assert [chunk.seq for chunk in first] == list(range(len(first)))
    assert len(first) < 40
    assert outbox.due(NS // 2) == []
    outbox.acknowledge(3, NS // 2)
    assert [chunk.seq for chunk in outbox.due(NS // 2)] == [len(first), len(first) + 1, len(first) + 2]


def test_after_a_silence_everything_unacknowledged_is_sent_again():
    outbox = filled(5)
    outbox.due(0)
    outbox.acknowledge(2, NS // 2)
    assert outbox.due(NS) == []
    assert [chunk.seq for chunk in outbox.due(2 * NS)] == [2, 3, 4]


@pytest.mark.parametrize("nonsense", [None, "3", -1, 0, 99, 2.5])
def test_a_nonsensical_acknowledgement_is_ignored(nonsense):
    outbox = filled(5)
    outbox.due(0)
    outbox.acknowledge(nonsense, 0)
    assert [chunk.seq for chunk in outbox.due(2 * NS)] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("message", [None, 5, {}, {"seq": 0}, {"seq": "0", "arm": "", "part": "", "data": b""}])
def test_what_is_no_chunk_is_not_accepted(message):
    inbox = Inbox()
    assert inbox.accept(message) is None
    assert inbox.expected == 0


def test_a_file_is_read_when_it_is_sent_and_sent_again(tmp_path):
    (tmp_path / "rows").write_bytes(b"abcdef")
    outbox = Outbox()
    outbox.put_file("arm", "rows", tmp_path / "rows", 1, 4)
    assert outbox.due(0) == outbox.due(2 * NS) == [Chunk(0, "arm", "rows", b"bcd")]
    assert not outbox.empty
    outbox.acknowledge(1, 2 * NS)
    assert outbox.empty
