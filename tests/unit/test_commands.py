"""The options that tasks share."""

from __future__ import annotations

import pytest
from invoke.context import Context
from invoke.tasks import task

from dbtools.commands import namespace
from dbtools.commands.common import Options, option_help, parse_option, takes
from dbtools.errors import ConfigurationError


def test_a_number_is_whole_where_its_default_is() -> None:
    assert parse_option("--rounds", "", 4, low=1) == 4
    assert parse_option("--rounds", "7", 4, low=1) == 7
    assert parse_option("--timeout", "2.5", 60.0, low=0) == 2.5
    assert isinstance(parse_option("--timeout", "2", 60.0, low=0), float)
    with pytest.raises(ConfigurationError, match=r"^--rounds is not a number, or out of range: '2\.5'"):
        parse_option("--rounds", "2.5", 4, low=1)


def test_a_task_takes_shared_options_and_its_own() -> None:
    seen: list[tuple[Options, str]] = []

    @task(auto_shortflags=False, iterable=["allow_host"], help=option_help("seed", "allow_host", own="Its own"))
    @takes("seed", "allow_host")
    def example(_context: Context, options: Options, own: str = "") -> None:
        """Remember what it is given."""
        seen.append((options, own))

    assert [argument.name for argument in example.get_arguments()] == ["own", "seed", "allow_host"]
    example(Context(), own="mine", seed="7")
    assert seen == [(Options(seed="7"), "mine")]


def test_reset_has_what_decides_on_the_snapshot_beside_what_seed_has() -> None:
    reset, seed = ({argument.name for argument in namespace[name].get_arguments()} for name in ("reset", "seed"))
    assert reset - seed == {"in_place", "rebuild", "from_"}
    assert seed - reset == {"known_users_only"}
