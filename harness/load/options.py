"""What a locustfile finds in `environment.parsed_options`: Locust's options, and those that it has added itself.

A scenario may give some of them in `load.options`, written as after `locust` on a command line: tags, the names of
user classes, and whatever the locustfile has added. What the scenario says in its own words is refused.
"""

from __future__ import annotations

import shlex
from argparse import Namespace
from typing import Any, Final, NoReturn

from locust.argument_parser import LocustArgumentParser, default_args_dict, get_parser

from harness.errors import LoadError

_GIVEN: Final = frozenset({"tags", "exclude_tags", "user_classes", "loglevel"})
"""Those of Locust's own options that mean the same in a load worker."""


def parse_options(text: str, host: str, users: int) -> Namespace:
    """The options of a run; call it after the locustfile was imported, which may have added some.

    Raises `LoadError` for unknown ones, and for those that are for the scenario to say.
    """
    parser = get_parser(default_config_files=[])
    parser.exit = _refuse
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise LoadError(f"`load.options`: {error}: {text}") from error
    given: Namespace = parser.parse_args(words)
    by_default = vars(parser.parse_args([]))
    for name in sorted(set(default_args_dict()) - _GIVEN):
        if getattr(given, name) != by_default[name]:
            raise LoadError(
                f"`load.options`: {_spelled(parser, name)} is for the scenario to say, or means nothing here",
                remedy=f"only {', '.join(_spelled(parser, one) for one in sorted(_GIVEN))} and options that the"
                " locustfile adds can be given",
            )
    given.host, given.num_users, given.headless = host, users, True
    return given


def _refuse(_status: int = 0, message: str | None = None) -> NoReturn:
    raise LoadError(f"`load.options`: {(message or '').rpartition('error: ')[2].strip() or 'cannot be parsed'}")


def _spelled(parser: LocustArgumentParser, name: str) -> str:
    actions: list[Any] = parser._actions
    options: list[str] = next((action.option_strings for action in actions if action.dest == name), [])
    return f"`{options[-1] if options else 'UserClass ...'}`"
