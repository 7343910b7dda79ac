import socket
import sys
from pathlib import Path

import pytest

TARGET = Path(__file__).parents[3] / "targets" / "sample-flask-app"
sys.path.insert(0, str(TARGET))


@pytest.fixture
def dead_address():
    """`host:port` that refuses connections for as long as the test lasts."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{held.getsockname()[1]}"
