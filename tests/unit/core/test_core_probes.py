import contextlib
import socket
import threading
from collections.abc import Iterator

from harness.probes import probe


@contextlib.contextmanager
def answering(status: str) -> Iterator[tuple[str, list[bytes]]]:
    """The address of a server that gives one answer, and what it was asked."""
    asked: list[bytes] = []

    def serve() -> None:
        connection, _ = server.accept()
        with connection:
            asked.append(connection.recv(4096))
            connection.sendall(f"{status}\r\nContent-Length: 0\r\n\r\n".encode())

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}", asked
        thread.join()


def test_an_app_that_checks_the_host_name_sees_its_own() -> None:
    """Django, for one, answers 400 to a name that is not its own."""
    with answering("HTTP/1.1 200 OK") as (address, asked):
        assert probe("http", address, path="/up").ok
    assert asked[0].startswith(b"GET /up HTTP/1.1\r\n")
    assert f"\r\nHost: {address}\r\n".encode() in asked[0]


def test_a_page_must_be_there_when_it_was_asked_for() -> None:
    with answering("HTTP/1.1 404 Not Found") as (address, _):
        assert probe("http", address, path="/up").error == "HTTP status 404"


def test_any_answer_shows_that_an_app_can_be_reached_that_has_no_such_page() -> None:
    with answering("HTTP/1.1 404 Not Found") as (address, _):
        assert probe("http", address).ok
    with answering("SSH-2.0 hello") as (address, _):
        assert probe("http", address).error == "not an HTTP server"
