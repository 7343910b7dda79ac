from __future__ import annotations

import contextlib
import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.proxy import gojson
from harness.proxy.gojson import Float32, dump, read_fields
from harness.proxy.jsonscan import MAX_DEPTH, DecodeError, Number, Object, Value, parse

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def plain(value: Value) -> object:
    match value:
        case Number(text):
            return json.loads(text)
        case Object(pairs):
            return {key: plain(item) for key, item in pairs}
        case list():
            return [plain(item) for item in value]
    return value


@given(JSON, st.booleans(), st.sampled_from([None, 2]))
def test_reads_what_json_writes(value: object, ascii_only: bool, indent: int | None) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    assert plain(parse(text.encode("utf-8", "surrogatepass"))) == value


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    with contextlib.suppress(DecodeError):
        parse(body)


@given(st.text(alphabet='{}[]":,truefalsn0123456789.eE+-\\ u'))
def test_refuses_what_python_refuses(text: str) -> None:
    try:
        json.JSONDecoder().raw_decode(text.lstrip(" "))
    except ValueError:
        with pytest.raises(DecodeError):
            parse(text.encode())


def test_nesting_is_bounded() -> None:
    with pytest.raises(DecodeError, match="exceeded max depth"):
        parse(b"[" * 100_000)
    parse(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)


def test_duplicates_stay_and_surrogates_join() -> None:
    assert parse(b'{"a":1,"a":2}') == Object((("a", Number("1")), ("a", Number("2"))))
    assert parse(b'"\\ud83d\\ude00 \\ud83d \xff"') == "\U0001f600 \ufffd \ufffd"


def test_the_first_wrong_field_is_named_and_the_last_duplicate_counts() -> None:
    fields = {"name": gojson.text, "size": gojson.integer("int")}
    assert read_fields(parse(b'{"SIZE":1,"size":2,"name":null}'), fields, type_name="x.T") == {"size": 2}
    with pytest.raises(DecodeError, match=r"unmarshal bool into Go struct field T\.a\.size of type int$"):
        read_fields(parse(b'{"size":true,"name":1}'), fields, type_name="x.T", path="a.")


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_float32_is_written_with_the_fewest_digits_that_read_back(value: float) -> None:
    text = dump(Float32(value))
    assert struct.pack("<f", float(text)) == struct.pack("<f", value)
    assert gojson.float32(Number(text)) == value
    assert len(text.replace("-", "").replace(".", "").strip("0").split("e")[0]) <= 9


@given(JSON.filter(lambda value: "." not in json.dumps(value) and "e" not in json.dumps(value)))
def test_what_is_dumped_reads_back(value: object) -> None:
    text = dump(value)
    assert json.loads(text) == value
    assert not set("<>&\u2028\u2029") & set(text)
