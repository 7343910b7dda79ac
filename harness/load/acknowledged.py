"""Which writes clients were told are stored: noted as the answers come, for the target's audit after the arm."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from harness.load.recorder import Recorder
from harness.record.acknowledged import KeyWriter


class Acknowledgements:
    """Notes the value of the request header `header` for every 2xx answer of `endpoint`, while the arm goes on."""

    def __init__(self, endpoint: str, header: str, recorder: Recorder, spool: Path) -> None:
        self._endpoint = endpoint
        self._header = header.lower()
        self._recorder = recorder
        self._writer = KeyWriter(spool)

    def answered(self, endpoint: str, sent: Mapping[str, str | bytes], status: int, at_ns: int) -> None:
        """A client has the answer to a request with the headers `sent`. Later checks of it don't take that back."""
        if endpoint != self._endpoint or not 200 <= status < 300 or self._recorder.closed:
            return
        for name, value in sent.items():
            if name.lower() == self._header:
                self._writer.add(value.decode("latin-1") if isinstance(value, bytes) else value, at_ns)
