"""Builds HTML from values: every text is escaped unless it was built here.

`el("td", name)` escapes `name`; only `Markup`, the result of these functions, goes through as it is. There is no
template language, and so no filter that can be forgotten.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Container, Iterable
from typing import Any

_VOID = frozenset({"br", "hr", "img", "input", "link", "meta", "col"})
_CONTROL = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff\u200e\u200f\u202a-\u202e\u2066-\u2069]"
)
_IN_SCRIPT = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


class Markup(str):
    """HTML that is already escaped."""

    __slots__ = ()


Content = str | int | None | Iterable["Content"]


def clean(value: object, *, limit: int = 2000) -> str:
    """Text from outside without what no document may hold: control characters, lone surrogates, direction overrides.

    Longer than `limit` characters is cut, visibly.
    """
    text = _CONTROL.sub("\N{REPLACEMENT CHARACTER}", str(value))
    return text if len(text) <= limit else text[: limit - 1] + "…"


def escape(value: object) -> Markup:
    """`value` as HTML text, safe in an element and in a quoted attribute."""
    return value if isinstance(value, Markup) else Markup(html.escape(clean(value), quote=True))


def join(*content: Content) -> Markup:
    """Everything in `content`, flattened, in order; None is nothing."""
    parts: list[str] = []
    for item in content:
        if item is None:
            continue
        if isinstance(item, str | int):
            parts.append(escape(item))
        else:
            parts.append(join(*item))
    return Markup("".join(parts))


def el(tag: str, *content: Content, **attributes: str | int | float | bool | None) -> Markup:
    """One element. `class_` and `for_` stand for `class` and `for`, `aria_label` for `aria-label`.

    An attribute that is None or False is left out; True is written without a value.
    """
    written = []
    for key, value in attributes.items():
        name = key.rstrip("_").replace("_", "-")
        if value is True:
            written.append(f" {name}")
        elif value is not None and value is not False:
            written.append(f' {name}="{escape(value)}"')
    opening = f"<{tag}{''.join(written)}>"
    return Markup(opening) if tag in _VOID else Markup(f"{opening}{join(*content)}</{tag}>")


def script_json(value: Any) -> Markup:
    """`value` as JSON that can stand inside <script>: no `</script>`, no `<!--`, no line separators, no NaN."""
    text = json.dumps(value, separators=(",", ":"), sort_keys=True, allow_nan=False, ensure_ascii=True)
    return Markup("".join(_IN_SCRIPT.get(char, char) for char in text))


def table(
    caption: Content,
    header: Iterable[Content],
    rows: Iterable[Iterable[Content]],
    *,
    class_: str | None = None,
    numeric: Container[int] = range(1, 99),
) -> Markup:
    """A table whose first column heads each row; the columns (from 0) in `numeric` are set as numbers.

    It scrolls sideways by itself on a narrow screen and can be reached with the keyboard for that; one of class
    `stack` shows each row as a block there, so its cells carry the names of their columns.
    """
    names = list(header)
    labels = [_plain(name) if class_ == "stack" else None for name in names]
    kinds = ["number" if i in numeric else None for i in range(len(names))]
    head = [el("th", name, scope="col", class_=kind) for name, kind in zip(names, kinds, strict=True)]
    body = []
    for row in rows:
        first, *others = row
        cells = zip(others, kinds[1:], labels[1:], strict=True)
        body.append(
            el(
                "tr",
                el("th", first, scope="row"),
                [el("td", cell, class_=kind, data_label=label) for cell, kind, label in cells],
            )
        )
    return el(
        "div",
        el("table", el("caption", caption), el("thead", el("tr", head)), el("tbody", body), class_=class_),
        class_="scroll",
        role="region",
        tabindex=0,
        aria_label=_plain(caption),
    )


def _plain(content: Content) -> Markup:
    """The text of some markup, still escaped, for an attribute."""
    return Markup(re.sub(r"<[^>]+>", "", join(content)))
