"""The file of proxies to start with: what is read, and what is said about mistakes."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from harness.proxy.collection import ProxySpec
from harness.proxy.config import ConfigError, Entry, read_config

GOOD = """[
  {"name": "redis", "listen": "[::1]:26379", "upstream": "cache:6379"},
  {"Name": "pg", "UPSTREAM": "10.0.0.1:5432", "listen": null, "enabled": false}
]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "proxies.json"


def test_proxies_with_their_lines(file: Path) -> None:
    file.write_text(GOOD)
    assert read_config(file) == (
        Entry(ProxySpec("redis", "[::1]:26379", "cache:6379", enabled=True), 2),
        Entry(ProxySpec("pg", "", "10.0.0.1:5432", enabled=False), 3),
    )
    file.write_text("[]")
    assert read_config(file) == ()


def test_an_unknown_key_is_ignored_with_a_warning(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    file.write_text('[{"name": "a", "upstream": "b:1", "listne": "127.0.0.1:7"}]')
    with caplog.at_level(logging.WARNING):
        assert read_config(file)[0].spec.listen == ""
    assert "proxies.json:1: unknown field `listne` is ignored; did you mean `listen`?" in caplog.text


@pytest.mark.parametrize(
    ("content", "where", "what"),
    [
        ("", ":1:1", "no JSON"),
        ("[{]", ":1:3", "no JSON"),
        ("[" * 100_000, "", "nested too deeply"),
        ('{"redis": {}}', ":1", "no list of proxies"),
        ("[\n3]", ":2", "no proxy: 3"),
        ('[{"name": "a"}]', ":1: upstream", "is missing"),
        ('[{"name": "", "upstream": "b:1"}]', ":1: name", "is missing"),
        ('[{"name": "a", "upstraem": "b:1"}]', ":1: upstream", "did you mean `upstream`"),
        ('[{"name": "a", "upstream": "b"}]', ":1: upstream", "missing port in address"),
        ('[{"name": "a", "upstream": "b:65536"}]', ":1: upstream", "invalid port"),
        ('[{"name": "a", "upstream": "b:1", "listen": "::1:7"}]', ":1: listen", "too many colons"),
        ('[{"name": "a", "upstream": "b:1", "enabled": "no"}]', ":1: enabled", 'expected true or false, found "no"'),
        ('[{"name": 7, "upstream": "b:1"}]', ":1: name", "expected a text, found 7"),
        (
            '[{"name": "a", "upstream": "b:1"},\n\n {"name": "a", "upstream": "b:2"}]',
            ":3: name",
            "`a` stands in line 1 already",
        ),
    ],
)
def test_mistakes_are_named_with_line_and_field(file: Path, content: str, where: str, what: str) -> None:
    file.write_text(content)
    with pytest.raises(ConfigError) as caught:
        read_config(file)
    assert str(caught.value).startswith(f"{file}{where}: ")
    assert what in str(caught.value)


def test_files_that_cannot_be_read(file: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        read_config(file)
    file.write_bytes(b"[\xff]")
    with pytest.raises(ConfigError, match="is not UTF-8 text"):
        read_config(file)
