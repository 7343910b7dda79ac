"""A damaged record is never taken for a good one, and never ends in anything but a clear error."""

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from record_builder import build_record

from harness.errors import IntegrityError, RecordError
from harness.record.reader import read

READINGS = [("fault-1", float(t), "app-1", "pool_size", 5.0) for t in range(3)]


@pytest.fixture(scope="module")
def damaged(tmp_path_factory):
    """The folder of a small record and the content of its data files."""
    folder = build_record(
        tmp_path_factory.mktemp("records") / "run",
        seconds=4,
        rate=20,
        fault_window=(1, 2),
        fault_error=0.5,
        retries=1,
        telemetry=READINGS,
    )
    names = ("samples.parquet", "telemetry.parquet", "events.jsonl")
    return folder, {name: (folder / name).read_bytes() for name in names}


class Damage:
    """Puts damaged bytes in place for the length of a `with`, and the good ones back."""

    def __init__(self, damaged, name, change):
        folder, contents = damaged
        self.path, self.good, self.change = folder / name, contents[name], change

    def __enter__(self):
        bad = bytearray(self.good)
        self.path.write_bytes(self.change(bad))

    def __exit__(self, *_):
        self.path.write_bytes(self.good)


def flip(share, mask):
    def change(content):
        content[min(int(share * len(content)), len(content) - 1)] ^= mask
        return content

    return change


SHARES = st.floats(0, 1)
MASKS = st.integers(1, 255)
FILES = st.sampled_from(["samples.parquet", "telemetry.parquet", "events.jsonl"])
IN_ONE_FOLDER = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@IN_ONE_FOLDER
@given(name=FILES, share=SHARES, mask=MASKS)
@example(name="samples.parquet", share=0.0, mask=1)
@example(name="samples.parquet", share=1.0, mask=128)
def test_any_changed_byte_is_caught(damaged, name, share, mask):
    with Damage(damaged, name, flip(share, mask)), pytest.raises(IntegrityError):
        read(damaged[0])


@IN_ONE_FOLDER
@given(name=FILES, share=st.floats(0, 1, exclude_max=True))
def test_any_truncation_is_caught(damaged, name, share):
    with Damage(damaged, name, lambda content: content[: int(share * len(content))]), pytest.raises(IntegrityError):
        read(damaged[0])


@IN_ONE_FOLDER
@given(name=FILES, flips=st.lists(st.tuples(SHARES, MASKS), min_size=1, max_size=3))
def test_without_integrity_damage_is_a_record_error_or_goes_unseen(damaged, name, flips):
    def change(content):
        for share, mask in flips:
            content = flip(share, mask)(content)
        return content

    with Damage(damaged, name, change):
        try:
            read(damaged[0], integrity=False)
            message = f"{damaged[0]}: nothing seen"
        except RecordError as error:
            message = error.message
        assert str(damaged[0]) in message


def test_the_record_is_good_when_it_is_not_damaged(damaged):
    assert len(read(damaged[0]).arm("fault-1")) >= 80
