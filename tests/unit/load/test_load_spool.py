import subprocess
import sys

import numpy as np
import pytest

from harness.errors import RecordError
from harness.record.spool import ERROR_WORDS, HEADER_SIZE, ROW_DTYPE, ROW_SIZE, RowWriter, count_rows, read_spool


def write(path, count=3):
    writer = RowWriter(path)
    for local in range(count):
        writer.add(0, local, local, f"name {local % 2}", 10 + local, 20, 30, 200, "", 5)
    return writer


def test_the_dtype_describes_the_row():
    assert np.dtype(ROW_DTYPE).itemsize == ROW_SIZE


def test_rows_come_back_as_numpy(tmp_path):
    writer = write(tmp_path / "w.rows")
    writer.add(2, 1, 3, "ünï\n", -5, 2**40, 2**41, 503, "http_5xx", 2**40)
    writer.close()
    spool = read_spool(tmp_path / "w.rows")
    rows = np.frombuffer(spool.data, dtype=np.dtype(ROW_DTYPE))
    assert spool.rows == len(rows) == count_rows(tmp_path / "w.rows") == 4
    assert spool.names == ("name 0", "name 1", "ünï\n")
    assert rows["local"].tolist() == [0, 1, 2, 3]
    last = rows[3]
    assert (last["attempt"], last["first_local"], last["intended_ns"], last["end_ns"]) == (2, 1, -5, 2**41)
    assert (last["status"], ERROR_WORDS[last["error"]], last["bytes"]) == (503, "http_5xx", 2**31 - 1)


@pytest.mark.parametrize("cut", [1, ROW_SIZE - 1])
def test_a_torn_last_row_is_left_out(tmp_path, cut):
    write(tmp_path / "w.rows").close()
    content = (tmp_path / "w.rows").read_bytes()
    (tmp_path / "w.rows").write_bytes(content[:-cut])
    spool = read_spool(tmp_path / "w.rows")
    assert (spool.rows, spool.torn_bytes) == (2, ROW_SIZE - cut)
    assert count_rows(tmp_path / "w.rows") == 2


def test_flushed_rows_and_their_names_are_readable_at_once(tmp_path):
    writer = write(tmp_path / "w.rows")
    assert read_spool(tmp_path / "w.rows").rows == 0
    writer.flush()
    assert read_spool(tmp_path / "w.rows").names == ("name 0", "name 1")
    writer.close()
    writer.close()


def test_rows_are_never_overwritten(tmp_path):
    write(tmp_path / "w.rows").close()
    with pytest.raises(FileExistsError):
        RowWriter(tmp_path / "w.rows")


def test_unknown_error_words_are_refused(tmp_path):
    with pytest.raises(KeyError):
        RowWriter(tmp_path / "w.rows").add(0, 0, 0, "x", 0, 0, 0, 0, "sad", 0)


def test_other_files_are_refused(tmp_path):
    with pytest.raises(RecordError, match="cannot read"):
        read_spool(tmp_path / "none.rows")
    (tmp_path / "other").write_bytes(b"x" * HEADER_SIZE)
    with pytest.raises(RecordError, match="not a spool"):
        read_spool(tmp_path / "other")
    assert count_rows(tmp_path / "none.rows") == 0


@pytest.mark.parametrize("length", [0, HEADER_SIZE - 1])
def test_a_spool_cut_within_its_header_has_no_rows(tmp_path, length):
    write(tmp_path / "w.rows").close()
    (tmp_path / "w.rows").write_bytes((tmp_path / "w.rows").read_bytes()[:length])
    assert read_spool(tmp_path / "w.rows").rows == count_rows(tmp_path / "w.rows") == 0


FILL = """
import resource, sys
from pathlib import Path
from harness.errors import RecordError
from harness.record.spool import RowWriter

resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
writer = RowWriter(Path(sys.argv[1]))
local = 0
try:
    while True:
        writer.add(0, local, local, "name", 1, 2, 3, 200, "", 4)
        local += 1
        if local % 3 == 0:
            writer.flush()
except RecordError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
for again in (writer.flush, writer.close):
    try:
        again()
    except RecordError as error:
        print(type(error).__name__)
"""


def test_a_full_disk_leaves_whole_rows_and_says_what_to_do(tmp_path):
    # What is written after space was freed would be out of step with the rows: nothing is.
    path = tmp_path / "w.rows"
    done = subprocess.run([sys.executable, "-c", FILL, path], capture_output=True, text=True, check=True)
    assert f"rows cannot be written to {path}: File too large" in done.stdout
    assert "free some space" in done.stdout
    assert done.stdout.splitlines()[-2:] == ["RecordError", "RecordError"]
    spool = read_spool(path)
    assert spool.rows == (1000 - HEADER_SIZE) // ROW_SIZE
    assert spool.torn_bytes > 0
