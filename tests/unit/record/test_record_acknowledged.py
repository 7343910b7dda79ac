"""The keys that were acknowledged to clients, written by load workers and read by the conductor."""

import pytest

from harness.errors import RecordError
from harness.record.acknowledged import KeyWriter, acknowledged_path, read_acknowledged
from harness.record.clocks import Reading, clock_path, reading_line, start_line


def spool_with(path, *keys):
    writer = KeyWriter(path)
    for key, at_ns in keys:
        writer.add(key, at_ns)
    return path


def test_keys_of_all_workers_with_the_first_time_of_each(tmp_path):
    one = spool_with(tmp_path / "0.rows", ("a", 5), ('b\u00e9 "', 7), ("a", 9))
    two = spool_with(tmp_path / "1.rows", ("a", 3), ("c", 1))
    assert read_acknowledged([one, two]) == {"a": 3, 'b\u00e9 "': 7, "c": 1}


def test_a_key_is_on_disk_at_once_and_a_torn_line_is_none(tmp_path):
    spool = spool_with(tmp_path / "0.rows", ("a", 5))
    with acknowledged_path(spool).open("ab") as file:
        file.write(b'[6, "b')
    assert read_acknowledged([spool]) == {"a": 5}


def test_times_of_another_host_are_brought_to_the_clock_of_the_run(tmp_path):
    spool = spool_with(tmp_path / "0.rows", ("a", 2_000))
    lines = start_line(1_000_000, 8_000_000) + reading_line(Reading(1_000_000, 6_999_500, 10))
    clock_path(spool).write_text(lines)
    assert read_acknowledged([spool]) == {"a": 2_500}


def test_a_file_that_is_missing_or_damaged_is_not_taken_for_none_acknowledged(tmp_path):
    with pytest.raises(RecordError, match="cannot be read"):
        read_acknowledged([tmp_path / "0.rows"])
    spool = spool_with(tmp_path / "1.rows")
    acknowledged_path(spool).write_text("damaged\n")
    with pytest.raises(RecordError, match="cannot be read"):
        read_acknowledged([spool])
