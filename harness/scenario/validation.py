"""From pydantic's errors to ours: file, line, field, what was expected, the nearest valid choice."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from harness.errors import ScenarioError, nearest
from harness.scenario.document import Document, Keys
from harness.scenario.models import PHASE_KEYS
from harness.scenario.types import kind_of

M = TypeVar("M", bound=BaseModel)

_EXPECTED = {
    "int_parsing": "expected a whole number",
    "int_type": "expected a whole number",
    "int_from_float": "expected a whole number",
    "bool_parsing": "expected true or false",
    "bool_type": "expected true or false",
    "string_type": "expected text",
    "dict_type": "expected a mapping",
    "model_type": "expected a mapping",
    "tuple_type": "expected a list",
    "list_type": "expected a list",
    "string_pattern_mismatch": "expected small letters, digits, `-`, `_` and `.`",
    "string_too_long": "too long",
    "string_too_short": "is empty",
    "too_short": "needs more entries",
    "greater_than": "must be above {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than_equal": "must be at most {le:g}",
}
_UNQUOTED = re.compile(r"'([^']*)'")


def validate(model: type[M], document: Document) -> M:
    """The document as a `model`. Raises ScenarioError for the first thing that is wrong, naming the others too."""
    try:
        return model.model_validate(document.data)
    except ValidationError as error:
        found = [_translated(one, model, document) for one in error.errors(include_url=False)]
    # What is missing comes last: a misspelt key, which has a line of its own, usually explains it.
    found.sort(key=lambda one: (one.message.endswith("is missing"), one.line or 0, one.column or 0))
    raise combined(found)


def combined(errors: list[ScenarioError]) -> ScenarioError:
    """One error that says everything that several say; the first keeps its place."""
    first, *others = errors
    if not others:
        return first
    also = "\n".join(f"{one.message}" + (f"\n  {one.remedy}" if one.remedy else "") for one in others)
    whole = ScenarioError(first.message, remedy="\n".join(part for part in (first.remedy, also) if part))
    whole.file, whole.line, whole.column, whole.field = first.file, first.line, first.column, first.field
    return whole


def _translated(error: Any, model: type[BaseModel], document: Document) -> ScenarioError:
    kind, given = error["type"], error["input"]
    path = _in_file(tuple(error["loc"]), document)
    if kind == "missing":
        return document.error(path, "is missing", remedy=_purpose(model, error["loc"]))
    if kind == "extra_forbidden":
        key = str(path[-1])
        hint = "a text with a comma needs quotes inside { }; " if given == "" else ""
        return document.key_error(path, "unknown key", remedy=hint + nearest(key, _keys(model, error["loc"][:-1])))
    if kind == "literal_error":
        allowed = _UNQUOTED.findall(error["ctx"]["expected"])
        return document.error(
            path, f"expected one of the allowed words, got {kind_of(given)}", remedy=nearest(str(given), allowed)
        )
    if kind in ("value_error", "assertion_error"):
        return document.error(path, str(error["ctx"]["error"]))
    expected = _EXPECTED.get(kind, error["msg"]).format(**error.get("ctx", {}))
    came = "" if kind.startswith(("string_too", "too_", "greater", "less")) else f", got {kind_of(given)}"
    return document.error(path, expected + came)


def _in_file(location: Keys, document: Document) -> Keys:
    """Where a model's field stands in the file: phases and faults are written as `name: value`, not as fields."""
    path: Keys = ()
    for step in location:
        value = document.get(path)
        if step == "[key]" or (isinstance(step, int) and isinstance(value, dict)):
            continue  # a single entry may stand for a list of one
        in_list = len(path) > 1 and isinstance(path[-1], int) and isinstance(value, dict)
        if in_list and step not in value and step in ("duration", "name"):
            path = (*path, next(key for key in value if key not in PHASE_KEYS))
        elif in_list and path[-2] == "faults" and step not in value:
            kind = next(iter(value))
            path = (*path, kind) if step in ("kind", "params") else (*path, kind, step)
        else:
            path = (*path, step)
    return path


def _keys(model: type[BaseModel], location: Keys) -> list[str]:
    found = _model_at(model, location)
    return [field.alias or name for name, field in found.model_fields.items()] if found else []


def _purpose(model: type[BaseModel], location: Keys) -> str:
    found = _model_at(model, location[:-1])
    for name, field in found.model_fields.items() if found else ():
        if (field.alias or name) == location[-1] and field.description:
            return field.description
    return ""


def _model_at(model: type[BaseModel], location: Keys) -> type[BaseModel] | None:
    """The model that stands at `location`, stepping through lists and mappings."""
    at: Any = model
    for step in location:
        if isinstance(at, type) and issubclass(at, BaseModel):
            fields = {field.alias or name: field for name, field in at.model_fields.items()}
            if step not in fields:
                return None
            at = fields[str(step)].annotation
        else:
            at = next(iter(_models_in(at)), None)
    return next(iter(_models_in(at)), None)


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models_in(part)
