"""Reading a record: what is accepted, what is refused, and how clearly."""

import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from record_builder import NS, build_record, seal, write_record

from harness.errors import IntegrityError, RecordError
from harness.record.reader import read


@pytest.fixture
def folder(tmp_path):
    """Baseline and fault arm, 30 s at 20/s, with retries and some telemetry."""
    readings = [("fault-1", 2.0, "app-1", "pool_size", 5.0), ("fault-1", 1.0, "app-1", "pool_size", 4.0)]
    return build_record(tmp_path / "run", seconds=30, rate=20, fault_error=0.5, retries=2, telemetry=readings)


def replace_samples(folder, table):
    pq.write_table(table, folder / "samples.parquet")
    seal(folder)


def edited(folder, **columns):
    """The samples with some columns replaced: name -> function of the column's values as a list."""
    table = pq.read_table(folder / "samples.parquet")
    for name, change in columns.items():
        values = change(table.column(name).to_pylist())
        table = table.set_column(table.schema.get_field_index(name), name, pa.array(values))
    return table


def set_item(row, value):
    def change(values):
        values[row] = value
        return values

    return change


def document(folder):
    return json.loads((folder / "run.json").read_text(encoding="utf-8"))


def set_document(folder, **changes):
    (folder / "run.json").write_text(json.dumps({**document(folder), **changes}), encoding="utf-8")


def test_what_was_written_is_read(folder):
    record = read(folder)
    assert record.arms_of("baseline") == ("baseline-1",)
    assert record.arms_of("fault") == ("fault-1",)
    assert record.endpoint_names == ("catalog", "checkout")
    table = pq.read_table(folder / "samples.parquet").to_pylist()
    for name in ("baseline-1", "fault-1"):
        arm = record.arm(name)
        rows = [row for row in table if row["arm"] == name]
        assert len(arm) == len(rows) > 0
        for column in ("worker", "seq", "attempt", "first_seq", "intended_ns", "start_ns", "end_ns", "status", "bytes"):
            assert getattr(arm, column).tolist() == [row[column] for row in rows]
        assert [arm.endpoint_names[code] for code in arm.endpoint] == [row["endpoint"] for row in rows]
        assert [arm.error_names[code] for code in arm.error] == [row["error"] for row in rows]
    assert record.arm("fault-1").attempt.max() == 2


def test_events_keep_their_fields_and_order(folder):
    events = read(folder).events
    lines = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    assert [{"t_ns": e.t_ns, "arm": e.arm, "kind": e.kind, **e.fields} for e in events] == lines
    active = [event for event in events if event.kind == "fault.active"]
    assert [(event.arm, event.t_ns, event.fields["fault"]) for event in active] == [("fault-1", 15 * NS, "redis-down")]


def test_telemetry_comes_in_order_of_time(folder):
    telemetry = read(folder).telemetry
    assert telemetry.available() == (("fault-1", "app-1", "pool_size"),)
    t_ns, value = telemetry.series("fault-1", "app-1", "pool_size")
    assert t_ns.tolist() == [1 * NS, 2 * NS]
    assert value.tolist() == [4.0, 5.0]
    assert telemetry.series("fault-1", "app-1", "nothing")[0].size == 0


def test_arrays_cannot_be_changed(folder):
    samples = read(folder).arm("fault-1")
    with pytest.raises(ValueError, match="read-only"):
        samples.status[0] = 1


def test_a_copied_folder_gives_equal_data(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "elsewhere" / "copy")
    here, there = read(folder), read(tmp_path / "elsewhere" / "copy")
    assert here.info == there.info
    assert here.events == there.events
    for name in ("baseline-1", "fault-1"):
        for column, values in here.arm(name).arrays().items():
            other = there.arm(name).arrays()[column]
            assert values.dtype == other.dtype
            assert values.tobytes() == other.tobytes()


def test_an_unknown_arm_is_refused_with_the_nearest(folder):
    with pytest.raises(RecordError, match="did you mean `fault-1`"):
        read(folder).arm("fault1")


def test_an_arm_without_rows_reads_as_empty(folder):
    arms = document(folder)["arms"]
    set_document(folder, arms=[*arms, {**arms[1], "name": "fault-2", "pair": 2, "rows": 0}])
    samples = read(folder).arm("fault-2")
    assert len(samples) == 0
    assert samples.end_ns.dtype == np.int64


def test_no_telemetry_file_and_no_digest_of_it_means_no_telemetry(folder):
    (folder / "telemetry.parquet").unlink()
    files = document(folder)["files"]
    del files["telemetry.parquet"]
    set_document(folder, files=files)
    assert read(folder).telemetry.available() == ()


# Records of other programs: other types without loss, other order, counted from one.


def test_plain_strings_and_wide_integers_are_read_alike(folder):
    expected = read(folder)
    table = pq.read_table(folder / "samples.parquet")
    wide = pa.schema(
        [
            (field.name, pa.large_string() if pa.types.is_dictionary(field.type) else pa.int64())
            for field in table.schema
        ]
    )
    replace_samples(folder, table.cast(wide))
    assert_same_samples(read(folder), expected)


def test_floats_that_are_whole_numbers_are_read_alike(folder):
    expected = read(folder)
    replace_samples(
        folder, edited(folder, status=lambda v: [float(x) for x in v], bytes=lambda v: [float(x) for x in v])
    )
    assert_same_samples(read(folder), expected)


def test_small_dictionary_indices_and_many_row_groups_are_read_alike(folder):
    expected = read(folder)
    table = pq.read_table(folder / "samples.parquet")
    for name in ("arm", "endpoint", "error"):
        small = table.column(name).cast(pa.string()).dictionary_encode().cast(pa.dictionary(pa.int8(), pa.string()))
        table = table.set_column(table.schema.get_field_index(name), name, small)
    pq.write_table(table, folder / "samples.parquet", row_group_size=17)
    seal(folder)
    assert_same_samples(read(folder), expected)


def test_an_empty_cell_for_no_error_is_read_alike(folder):
    expected = read(folder)
    replace_samples(folder, edited(folder, error=lambda v: [word or None for word in v]))
    assert_same_samples(read(folder), expected)


def test_rows_in_any_order_are_read_alike(folder):
    expected = read(folder)
    table = pq.read_table(folder / "samples.parquet")
    replace_samples(folder, table.take(np.random.default_rng(3).permutation(table.num_rows)))
    assert_same_samples(read(folder), expected)


def test_rows_counted_from_one_are_read_alike(folder):
    expected = read(folder)
    add = lambda values: [value + 1 for value in values]  # noqa: E731
    replace_samples(folder, edited(folder, seq=add, first_seq=add))
    assert_same_samples(read(folder), expected)


def test_more_columns_are_ignored(folder):
    expected = read(folder)
    table = pq.read_table(folder / "samples.parquet")
    replace_samples(folder, table.append_column("colour", pa.array(["red"] * table.num_rows)))
    assert_same_samples(read(folder), expected)


def assert_same_samples(record, expected):
    assert record.endpoint_names == expected.endpoint_names
    for name in ("baseline-1", "fault-1"):
        for column, values in expected.arm(name).arrays().items():
            assert record.arm(name).arrays()[column].tobytes() == values.tobytes(), column


# Integrity.


@pytest.mark.parametrize("name", ["samples.parquet", "telemetry.parquet", "events.jsonl"])
def test_a_changed_file_is_an_integrity_error(folder, name):
    with (folder / name).open("ab") as file:
        file.write(b"\n")
    with pytest.raises(IntegrityError, match=f"{name}: was changed or damaged"):
        read(folder)


def test_a_change_of_values_goes_through_without_integrity(folder):
    pq.write_table(edited(folder, status=set_item(0, 204)), folder / "samples.parquet")
    with pytest.raises(IntegrityError, match="--no-integrity"):
        read(folder)
    assert read(folder, integrity=False).arm("baseline-1").status[0] == 204


@pytest.mark.parametrize("name", ["samples.parquet", "telemetry.parquet", "events.jsonl"])
def test_a_missing_digest_is_an_integrity_error(folder, name):
    files = document(folder)["files"]
    del files[name]
    set_document(folder, files=files)
    with pytest.raises(IntegrityError, match=f"no digest of {name}"):
        read(folder)
    assert len(read(folder, integrity=False).arm("baseline-1")) > 0


@pytest.mark.parametrize("without", [lambda folder: set_document(folder, files={}), None])
def test_no_digests_at_all_is_an_integrity_error(folder, without):
    if without:
        without(folder)
    else:
        data = document(folder)
        del data["files"]
        (folder / "run.json").write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(IntegrityError, match="killed before its record was finished"):
        read(folder)
    assert len(read(folder, integrity=False).arm("baseline-1")) > 0


def test_a_wrong_number_of_rows_is_an_integrity_error(folder):
    files = document(folder)["files"]
    files["events.jsonl"]["rows"] += 1
    set_document(folder, files=files)
    with pytest.raises(IntegrityError, match=r"rows, run\.json says"):
        read(folder)


def test_digests_may_be_in_capitals_and_lack_rows(folder):
    files = {name: {"sha256": entry["sha256"].upper()} for name, entry in document(folder)["files"].items()}
    set_document(folder, files=files)
    assert len(read(folder).arm("baseline-1")) > 0


def test_derived_files_may_be_rebuilt(folder):
    files = document(folder)["files"]
    set_document(folder, files={**files, "verdict.json": {"sha256": "0" * 64}})
    assert len(read(folder).arm("baseline-1")) > 0


def test_a_digest_of_a_file_elsewhere_is_refused(folder):
    files = document(folder)["files"]
    set_document(folder, files={**files, "../run.json": {"sha256": "0" * 64}})
    with pytest.raises(RecordError, match="not the name of a file"):
        read(folder)


# Damage.


@pytest.mark.parametrize("integrity", [True, False])
@pytest.mark.parametrize("name", ["samples.parquet", "telemetry.parquet", "events.jsonl"])
def test_a_missing_file_is_named(folder, name, integrity):
    (folder / name).unlink()
    with pytest.raises(RecordError, match=f"{name}: the file is missing"):
        read(folder, integrity=integrity)


@pytest.mark.parametrize("integrity", [True, False])
@pytest.mark.parametrize("keep", [0, 3, 1000, -1])
def test_a_truncated_file_is_named(folder, integrity, keep):
    path = folder / "samples.parquet"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(RecordError, match=r"samples\.parquet: .*(truncated|damaged)"):
        read(folder, integrity=integrity)


def test_no_folder_is_no_record(tmp_path):
    with pytest.raises(RecordError, match="no such folder"):
        read(tmp_path / "nothing")


def test_a_killed_run_is_said_to_be_incomplete(folder):
    set_document(folder, files={}, arms=[])
    for integrity in (True, False):
        with pytest.raises(RecordError, match="incomplete, the run was killed"):
            read(folder, integrity=integrity)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"t_ns": 1, "kind"', "the line is not JSON"),
        ("[1]", "a JSON object is expected"),
        ('{"kind": "note"}', "t_ns: the field is missing"),
        ('{"t_ns": 1}', "kind: the field is missing"),
        ('{"t_ns": 1.5, "kind": "note"}', "t_ns: a whole number"),
        ('{"t_ns": true, "kind": "note"}', "t_ns: a whole number"),
        ('{"t_ns": NaN, "kind": "note"}', "t_ns: a whole number"),
        ('{"t_ns": Infinity, "kind": "note"}', "t_ns: a whole number"),
        ('{"t_ns": "1", "kind": "note"}', "t_ns: a whole number"),
        ('{"t_ns": 1, "kind": 4}', "kind: a word"),
        ('{"t_ns": 1, "kind": "note", "arm": 4}', "arm: the name of an arm"),
    ],
)
def test_a_bad_line_of_events_is_named_by_number(folder, line, reason):
    path = folder / "events.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([*lines[:4], line, *lines[4:]]) + "\n", encoding="utf-8")
    seal(folder)
    with pytest.raises(RecordError, match=rf"events\.jsonl:5: {reason}"):
        read(folder)


def test_events_of_no_arm_and_empty_lines_are_read(folder):
    path = folder / "events.jsonl"
    path.write_text('{"t_ns": 5, "kind": "note", "arm": null}\n\n{"t_ns": 6.0, "kind": "note"}\n', encoding="utf-8")
    seal(folder)
    assert [(event.t_ns, event.arm) for event in read(folder).events] == [(5, ""), (6, "")]


# Contradictions.


@pytest.mark.parametrize("column", ["arm", "worker", "seq", "first_seq", "endpoint", "end_ns", "error", "bytes"])
def test_a_missing_column_is_named(folder, column):
    replace_samples(folder, pq.read_table(folder / "samples.parquet").drop_columns([column]))
    with pytest.raises(RecordError, match=f"column {column} is missing"):
        read(folder)


@pytest.mark.parametrize(
    ("column", "change", "reason"),
    [
        ("end_ns", lambda v: [str(x) for x in v], "column end_ns: int64 is expected, string was found"),
        ("status", set_item(5, 70000), "column status: int64 does not fit int16"),
        ("intended_ns", lambda v: [x + 0.5 for x in v], "column intended_ns: double does not fit int64"),
        ("endpoint", lambda v: [7 for _ in v], "column endpoint: text is expected"),
        ("endpoint", set_item(6, None), "column endpoint, row 6: the cell is empty"),
        ("end_ns", set_item(8, None), "column end_ns, row 8: the cell is empty"),
        ("arm", set_item(9, "fault-9"), "arm `fault-9`, column arm, row 9 of the file: not in run.json's arms"),
        ("seq", set_item(12, 13), "arm `baseline-1`, column seq, row 12: .* without gaps, found 13"),
        ("seq", lambda v: [x + 2 for x in v], "arm `baseline-1`, column seq, row 0: .* found 2"),
        ("first_seq", set_item(12, 13), "arm `baseline-1`, column first_seq, row 12: .* earlier one, found 13"),
        ("first_seq", set_item(12, -1), "arm `baseline-1`, column first_seq, row 12: .* earlier one, found -1"),
        ("first_seq", set_item(12, 11), "arm `baseline-1`, column first_seq, row 12: attempt 0 must refer to itself"),
        ("attempt", set_item(12, 1), "arm `baseline-1`, column first_seq, row 12: refers to a row that is not an"),
        ("attempt", set_item(12, -1), "arm `baseline-1`, column attempt, row 12: must not be negative, found -1"),
        ("error", set_item(7, "http_teapot"), "arm `baseline-1`, column error, row 7: `http_teapot` is not an error"),
        ("error", set_item(607, "timeuot"), "arm `fault-1`, column error, row 7: .*\n.*did you mean `timeout`"),
        ("end_ns", set_item(3, 1), "arm `baseline-1`, column end_ns, row 3: the attempt ends before its start_ns"),
        ("start_ns", set_item(603, -5), "arm `fault-1`, column start_ns, row 3: must not be negative, found -5"),
        ("intended_ns", set_item(4, 10**12), "arm `baseline-1`, column end_ns, row 4: the attempt ends before its int"),
        ("intended_ns", set_item(4, -1), "arm `baseline-1`, column intended_ns, row 4: must not be negative"),
    ],
)
def test_a_contradiction_is_named_by_arm_column_and_first_row(folder, column, change, reason):
    replace_samples(folder, edited(folder, **{column: change}))
    for integrity in (True, False):
        with pytest.raises(RecordError, match=reason):
            read(folder, integrity=integrity)


def test_the_row_of_an_unknown_word_is_counted_within_its_arm(folder):
    table = edited(folder, error=set_item(607, "oops"))
    replace_samples(folder, table.take(np.r_[600 : table.num_rows, 0:600]))
    with pytest.raises(RecordError, match="arm `fault-1`, column error, row 7"):
        read(folder)


def test_rows_that_run_json_does_not_know_of_are_refused(folder):
    arms = document(folder)["arms"]
    arms[1]["rows"] -= 1
    set_document(folder, arms=arms)
    with pytest.raises(RecordError, match=r"arm `fault-1`: \d+ rows, run\.json says \d+"):
        read(folder)


def test_a_record_of_arrays_is_read(tmp_path):
    one_row = {
        "worker": [0],
        "seq": [0],
        "attempt": [0],
        "first_seq": [0],
        "endpoint": ["a"],
        "intended_ns": [5],
        "start_ns": [6],
        "end_ns": [7],
        "status": [200],
        "error": [""],
        "bytes": [1],
    }
    arms = [{"name": "only", "kind": "baseline", "duration_s": 1}]
    folder = write_record(tmp_path / "run", info={}, arms=arms, samples={"only": one_row})
    record = read(folder)
    assert record.arm("only").end_ns.tolist() == [7]
    assert record.arms_of("fault") == ()
