"""However the bytes of a message are cut up, its end is found where it is, and what comes after is left alone."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.faults.framing import Chunked, Framing, Length, NotHttpError, read_answer, read_request

NEXT = b"GET / HTTP/1.1\r\n"


@st.composite
def chunked_bodies(draw: st.DrawFn) -> bytes:
    chunks = draw(st.lists(st.binary(min_size=1, max_size=40), max_size=5))
    extension = draw(st.sampled_from([b"", b";a=b", b" ; a"]))
    trailer = draw(st.sampled_from([b"", b"T: u\r\n", b"T: u\r\nV: w\r\n"]))
    sizes = draw(st.sampled_from([b"%x", b"%X", b"00%x"]))
    body = b"".join(sizes % len(chunk) + extension + b"\r\n" + chunk + b"\r\n" for chunk in chunks)
    return body + b"0" + extension + b"\r\n" + trailer + b"\r\n"


def used(framing: Framing, data: bytes, cuts: Sequence[int]) -> int:
    """How many bytes of the data a body takes when they come in pieces that end at `cuts`."""
    buffer, total, at = b"", 0, 0
    for cut in (*sorted(cuts), len(data)):
        buffer += data[at : max(at, cut)]
        at = max(at, cut)
        while not framing.over and (size := framing.advance(buffer)):
            total += size
            buffer = buffer[size:]
    return total


@given(chunked_bodies(), st.lists(st.integers(0, 300), max_size=20))
def test_a_chunked_body_ends_where_it_ends(body: bytes, cuts: list[int]) -> None:
    framing = Chunked()
    assert used(framing, body + NEXT, cuts) == len(body)
    assert framing.over


@given(st.integers(0, 200), st.lists(st.integers(0, 300), max_size=20))
def test_a_body_of_known_length_ends_where_it_ends(length: int, cuts: list[int]) -> None:
    framing = Length(length)
    assert used(framing, b"x" * length + NEXT, cuts) == length
    assert framing.over


@given(st.binary(max_size=200))
def test_whatever_comes_is_read_or_refused(data: bytes) -> None:
    for read in (read_request, lambda head: read_answer(head, to="GET")):
        with contextlib.suppress(NotHttpError):
            read(data + b"\r\n\r\n")
    with contextlib.suppress(NotHttpError):
        assert 0 <= used(Chunked(), data, []) <= len(data)


@pytest.mark.parametrize("size", [b"-5", b"0x5", b"1_0", b"", b"g"])
def test_a_size_that_only_looks_like_one_is_refused(size: bytes) -> None:
    with pytest.raises(NotHttpError, match="no size of a chunk"):
        Chunked().advance(size + b"\r\n")
