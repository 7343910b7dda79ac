import pytest

from harness.load.connection import header_fields, is_framed
from harness.load.messages import Requests, Response

REQUESTS = Requests("shop:80")


def test_a_get_is_one_small_message():
    message = REQUESTS.compose("GET", "/catalog?page=2")
    assert message.startswith(b"GET /catalog?page=2 HTTP/1.1\r\nHost: shop:80\r\n")
    assert message.endswith(b"\r\n\r\n")
    assert b"Content-Length" not in message


@pytest.mark.parametrize(
    ("options", "content_type", "body"),
    [
        ({"json": {"a": [1]}}, b"Content-Type: application/json\r\n", b'{"a":[1]}'),
        ({"data": {"a": "b c", "d": 1}}, b"Content-Type: application/x-www-form-urlencoded\r\n", b"a=b+c&d=1"),
        ({"data": "ä"}, b"", "ä".encode()),
        ({"data": b"\x00"}, b"", b"\x00"),
        ({}, b"", b""),
    ],
)
def test_bodies_are_declared(options, content_type, body):
    head, _, sent = REQUESTS.compose("POST", "/x", **options).partition(b"\r\n\r\n")
    assert sent == body
    assert b"Content-Length: %d\r\n" % len(body) in head + b"\r\n"
    assert content_type in head + b"\r\n"


def test_a_given_content_type_wins():
    message = REQUESTS.compose("POST", "/x", {"content-type": "application/vnd.x+json"}, json={})
    assert message.lower().count(b"content-type") == 1


def test_odd_paths_are_quoted():
    assert REQUESTS.compose("GET", "/a b/ä?q=ü#top").startswith(b"GET /a%20b/%C3%A4?q=%C3%BC HTTP")


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        (("GET", "http://elsewhere/x"), {}),
        (("GET", "relative"), {}),
        (("GET", "/x", {"X": "a\r\nEvil: b"}), {}),
        (("GET", "/x", {"X: y\r\nEvil": "b"}), {}),
        (("G ET", "/x"), {}),
        (("POST", "/x"), {"json": 1, "data": "x"}),
    ],
)
def test_what_cannot_be_sent_is_refused(arguments, options):
    with pytest.raises(ValueError):
        REQUESTS.compose(*arguments, **options)


def test_interim_headers_are_not_the_responses():
    head = (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nX-A:  b \r\n\r\nbody: x"
    )
    assert header_fields(head) == [(b"x-a", b"b")]
    assert not is_framed(head)
    assert is_framed(b"HTTP/1.1 200 OK\r\ncontent-LENGTH: 2\r\n\r\nok")


def test_fail_makes_a_good_response_wrong_and_keeps_a_failure():
    good = Response(0, 1, 200, "")
    assert good.ok
    good.fail("no order")
    assert (good.ok, good.error, good.detail) == (False, "check", "no order")
    late = Response(0, 1, 0, "timeout", "late")
    late.fail("no order")
    assert (late.error, late.detail) == ("timeout", "late")


def test_text_follows_the_charset():
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=latin-1\r\n\r\n"
    assert Response(0, 1, 200, "", "", head, b"\xe4").text == "ä"
    assert Response(0, 1, 200, "", "", b"HTTP/1.1 200 OK\r\n\r\n", "ä".encode()).text == "ä"


def test_a_damaged_body_is_a_value_error():
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n"
    with pytest.raises(ValueError, match="damaged"):
        _ = Response(0, 1, 200, "", "", head, b"not gzip").body


def test_a_failure_without_a_response_has_no_headers():
    assert dict(Response(0, 1, 0, "reset").headers) == {}
