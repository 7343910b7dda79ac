from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.report.atomic import replacing, write_text
from harness.report.markup import Markup, clean, el, join, script_json


def test_text_is_escaped_and_markup_is_not() -> None:
    assert el("p", "<b>", el("i", "&")) == "<p>&lt;b&gt;<i>&amp;</i></p>"
    assert join("a<", Markup("<br>"), None, ["b", 3]) == "a&lt;<br>b3"


def test_attributes_are_quoted_and_named_as_in_html() -> None:
    assert el("a", "x", href='"><script>', class_="c", aria_label="l", hidden=True, title=None, open=False) == (
        '<a href="&quot;&gt;&lt;script&gt;" class="c" aria-label="l" hidden>x</a>'
    )


def test_script_json_cannot_leave_its_script() -> None:
    data = {"</script>": ["<!--", "\u2028\u2029", "é", 1.5, None]}
    text = script_json(data)
    assert not set(text) & {"<", ">", "&", "\u2028", "\u2029"}
    assert json.loads(text) == data
    with pytest.raises(ValueError, match="JSON"):
        script_json(float("nan"))


def test_clean_takes_out_what_no_document_may_hold() -> None:
    assert clean("a\x00b\x1b[31m\u202ec\ud800") == "a\ufffdb\ufffd[31m\ufffdc\ufffd"
    assert clean("tab\tline\n") == "tab\tline\n"
    assert clean("x" * 3000, limit=10) == "x" * 9 + "…"


def test_a_file_is_old_or_new_never_half(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_text(path, "old")

    def fail_midway() -> None:
        with replacing(path) as draft:
            draft.write_text("ne")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail_midway()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
