"""The published description of the record is true of the record."""

import json

import jsonschema
import pytest
from record_builder import build_record

from harness.record.schema import ERRORS, EVENT_KINDS, SAMPLES, TELEMETRY, json_schema
from harness.record.spool import ERROR_WORDS


def test_samples_have_the_documented_columns():
    assert [(field.name, str(field.type)) for field in SAMPLES] == [
        ("arm", "dictionary<values=string, indices=int32, ordered=0>"),
        ("worker", "int16"),
        ("seq", "int64"),
        ("attempt", "int16"),
        ("first_seq", "int64"),
        ("endpoint", "dictionary<values=string, indices=int32, ordered=0>"),
        ("intended_ns", "int64"),
        ("start_ns", "int64"),
        ("end_ns", "int64"),
        ("status", "int16"),
        ("error", "dictionary<values=string, indices=int32, ordered=0>"),
        ("bytes", "int32"),
    ]
    assert TELEMETRY.names == ["arm", "t_ns", "component", "metric", "value"]
    assert str(TELEMETRY.field("value").type) == "double"


def test_the_error_words_are_those_of_the_load_workers():
    assert ERRORS == ERROR_WORDS
    assert ERRORS[0] == ""
    assert len(set(ERRORS)) == 10


def test_the_schema_covers_each_file_and_is_json():
    schema = json_schema()
    assert set(schema) == {"run.json", "events.jsonl", "audit.json", "samples.parquet", "telemetry.parquet"}
    assert json.loads(json.dumps(schema)) == schema
    assert [column["name"] for column in schema["samples.parquet"]] == SAMPLES.names
    assert all(column["meaning"] for column in schema["samples.parquet"] + schema["telemetry.parquet"])


def test_a_record_validates_against_the_schema(tmp_path):
    folder = build_record(tmp_path / "run", seconds=30)
    schema = json_schema()
    jsonschema.validate(json.loads((folder / "run.json").read_text()), schema["run.json"])
    for line in (folder / "events.jsonl").read_text().splitlines():
        jsonschema.validate(json.loads(line), schema["events.jsonl"])


def test_the_schema_refuses_what_the_reader_refuses(tmp_path):
    schema = json_schema()
    document = json.loads((build_record(tmp_path / "run", seconds=30) / "run.json").read_text())
    del document["arms"][0]["rows"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, schema["run.json"])
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"t_ns": 1, "kind": "fault.activ"}, schema["events.jsonl"])
    assert len(EVENT_KINDS) == 11
