"""Reads the first JSON value of a body the way Go's decoder does, with its words for what is wrong.

Numbers keep their spelling and objects their duplicate keys, since Go's typing rules need both (see `gojson`).
What follows the first value is ignored. Bad UTF-8 and lone surrogates become U+FFFD.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn, TypeAlias

MAX_DEPTH = 200


class DecodeError(ValueError):
    """The body is not JSON, or not of the wanted types; the text is Go's."""


@dataclass(frozen=True, slots=True)
class Number:
    """A number as it was written."""

    text: str


@dataclass(frozen=True, slots=True)
class Object:
    """An object with its pairs in order, duplicates included."""

    pairs: tuple[tuple[str, Value], ...]


Value: TypeAlias = "Object | list[Value] | str | Number | bool | None"


def parse(body: bytes) -> Value:
    """The first JSON value in `body`. Raises DecodeError (`EOF` when there is none)."""
    scanner = _Scanner(body)
    if scanner.peek() == b"":
        raise DecodeError("EOF")
    return scanner.value(0)


_LITERALS: dict[bytes, tuple[bytes, bool | None]] = {
    b"t": (b"true", True),
    b"f": (b"false", False),
    b"n": (b"null", None),
}
_ESCAPES = dict(zip(b'"\\/bfnrt', '"\\/\b\f\n\r\t', strict=True))
_DIGITS = b"0123456789"
_HEX = b"0123456789abcdefABCDEF"


class _Scanner:
    """A cursor over the body."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._at = 0

    def peek(self) -> bytes:
        """The next byte that is not white space, without taking it; empty at the end."""
        rest = self._body[self._at :]
        self._at += len(rest) - len(rest.lstrip(b" \t\r\n"))
        return self._body[self._at : self._at + 1]

    def value(self, depth: int) -> Value:
        if depth > MAX_DEPTH:
            raise DecodeError("exceeded max depth")
        first = self.peek()
        if first == b"{":
            return self._object(depth)
        if first == b"[":
            return self._array(depth)
        if first == b'"':
            return self._string()
        if first == b"-" or (first and first in _DIGITS):
            return self._number()
        if first not in _LITERALS:
            self._refuse("looking for beginning of value")
        return self._literal(*_LITERALS[first])

    def _object(self, depth: int) -> Object:
        self._at += 1
        pairs: list[tuple[str, Value]] = []
        if self.peek() == b"}":
            self._at += 1
            return Object(())
        while True:
            if self.peek() != b'"':
                self._refuse("looking for beginning of object key string")
            key = self._string()
            if self.peek() != b":":
                self._refuse("after object key")
            self._at += 1
            pairs.append((key, self.value(depth + 1)))
            if self._ends(b"}", "after object key:value pair"):
                return Object(tuple(pairs))

    def _array(self, depth: int) -> list[Value]:
        self._at += 1
        if self.peek() == b"]":
            self._at += 1
            return []
        items: list[Value] = []
        while True:
            items.append(self.value(depth + 1))
            if self._ends(b"]", "after array element"):
                return items

    def _ends(self, closing: bytes, context: str) -> bool:
        mark = self.peek()
        if mark not in (b",", closing) or not mark:
            self._refuse(context)
        self._at += 1
        return mark == closing

    def _literal(self, word: bytes, meaning: bool | None) -> bool | None:
        for letter in word:
            if self._next() != letter:
                self._refuse(f"in literal {word.decode()} (expecting '{chr(letter)}')")
            self._at += 1
        return meaning

    def _number(self) -> Number:
        start = self._at
        if self._next() == ord("-"):
            self._at += 1
        if self._next() == ord("0"):
            self._at += 1
        else:
            self._digits("in numeric literal")
        if self._next() == ord("."):
            self._at += 1
            self._digits("after decimal point in numeric literal")
        if self._next() in b"eE":
            self._at += 1
            if self._next() in b"+-":
                self._at += 1
            self._digits("in exponent of numeric literal")
        return Number(self._body[start : self._at].decode())

    def _digits(self, context: str) -> None:
        if self._next() not in _DIGITS:
            self._refuse(context)
        while self._next() in _DIGITS:
            self._at += 1

    def _string(self) -> str:
        self._at += 1
        parts: list[str] = []
        start = self._at
        while (byte := self._next()) != ord('"'):
            if byte < 0x20:
                self._refuse("in string literal")
            if byte != ord("\\"):
                self._at += 1
                continue
            parts.append(self._body[start : self._at].decode(errors="replace"))
            parts.append(self._escape())
            start = self._at
        parts.append(self._body[start : self._at].decode(errors="replace"))
        self._at += 1
        joined = "".join(parts)  # two escaped surrogates meet here and make one character
        return joined.encode("utf-16", "surrogatepass").decode("utf-16", "replace")

    def _escape(self) -> str:
        self._at += 1
        letter = self._next()
        if letter == ord("u"):
            self._at += 1
            for _ in range(4):
                if self._next() not in _HEX:
                    self._refuse("in \\u hexadecimal character escape")
                self._at += 1
            return chr(int(self._body[self._at - 4 : self._at], 16))
        if letter not in _ESCAPES:
            self._refuse("in string escape code")
        self._at += 1
        return _ESCAPES[letter]

    def _next(self) -> int:
        """The next byte; NUL, which fits no rule, at the end of the body."""
        return self._body[self._at] if self._at < len(self._body) else 0

    def _refuse(self, context: str) -> NoReturn:
        if self._at >= len(self._body):
            raise DecodeError("unexpected EOF")
        raise DecodeError(f"invalid character {_quoted(self._body[self._at])} {context}")


def _quoted(byte: int) -> str:
    if byte == ord("'"):
        return "'\\''"
    if byte == ord("\\"):
        return "'\\\\'"
    control = {7: "\\a", 8: "\\b", 9: "\\t", 10: "\\n", 11: "\\v", 12: "\\f", 13: "\\r"}.get(byte)
    if control:
        return f"'{control}'"
    if byte < 0x20 or byte == 0x7F:
        return f"'\\x{byte:02x}'"
    return f"'{chr(byte)}'" if chr(byte).isprintable() else f"'\\u{byte:04x}'"
