"""Variables as inputs of a build: which count, and which values make a difference."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dbtools.build.inputs import Inputs
from dbtools.build.variables import PERSONAL, chosen, is_volatile
from tests.support.checkout import Checkout

COUNTING = (
    *("TZ", "LANG", "LC_ALL", "LANGUAGE", "PYTHONHASHSEED", "PYTHONPATH", "NODE_ENV", "APP_ENV", "CI", "SEED_PROFILE"),
    *("PGTZ", "PGOPTIONS", "PGCLIENTENCODING", "POSTGRES_DB", "TERMINAL_COUNT", "LISTENERS", "PROMPT_TEMPLATE", "JOBS"),
)
VOLATILE = (
    *("_", "PWD", "SHLVL", "TERM", "TERM_PROGRAM", "COLUMNS", "SSH_AUTH_SOCK", "DISPLAY", "XDG_RUNTIME_DIR", "PATH"),
    *("DATABASE_URL", "PGHOST", "PGPASSWORD", "PGSSLMODE", "DBTOOLS_TEST_URL", "ALLOW_RESET", "VIRTUAL_ENV", "TMPDIR"),
    *(
        "PYTEST_CURRENT_TEST",
        "INVOKE_TASK",
        "NOX_CURRENT_SESSION",
        "GIT_EXEC_PATH",
        "npm_lifecycle_event",
        "GITHUB_RUN_ID",
        "CI_JOB_ID",
    ),
    *("BASH_FUNC_x%%", "WAYLAND_DISPLAY", "GPG_AGENT_INFO", "LS_COLORS", "OLDPWD", "MAKEFLAGS"),
)


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    found = Checkout(tmp_path)
    found.write("a.sql")
    found.git("init", "-q")
    return found


@pytest.mark.parametrize("name", COUNTING)
def test_it_may_decide_content(name: str) -> None:
    assert not is_volatile(name)
    assert chosen({name: "x"}, None, None, ()) == {name}


@pytest.mark.parametrize("name", VOLATILE)
def test_it_never_decides_content(name: str) -> None:
    assert is_volatile(name)
    assert chosen({name: "x"}, None, [name], ()) == set()
    assert chosen({name: "x"}, ("*",), None, ()) == set()
    assert chosen({}, (name,), None, ()) == {name}  # who names it wants it


@pytest.mark.parametrize("name", sorted(PERSONAL))
def test_it_counts_where_it_was_read(name: str) -> None:
    assert chosen({name: "x"}, None, None, ()) == set()
    assert chosen({}, None, [name], ()) == {name}


def test_what_the_steps_set_does_not_count() -> None:
    assert chosen({"A": "1", "B": "2"}, None, None, ["A"]) == {"B"}
    assert chosen({"A": "1"}, ("*",), None, ["A"]) == set()
    assert chosen({"A": "1"}, None, ["A"], ["A"]) == set()


def test_recorded_names(checkout: Checkout) -> None:
    checkout.environ["READER"] = "1"
    inputs = checkout.describe(
        checkout.record({"file": f"{checkout.root}/a.sql"}, {"variable": "READER"}, {"variable": "UNSET"})
    )
    assert [*inputs.variables] == ["READER", "UNSET"]
    checkout.environ["OTHER"] = "x"
    assert checkout.difference(inputs) == ""
    check_each(checkout, inputs)


def check_each(checkout: Checkout, inputs: Inputs) -> None:
    """READER is "1", UNSET is not set."""
    checkout.environ["READER"] = "2"
    assert checkout.difference(inputs) == "READER is set to another value"
    del checkout.environ["READER"]
    assert checkout.difference(inputs) == "READER is no longer set"
    checkout.environ |= {"READER": "1", "UNSET": ""}
    assert checkout.difference(inputs) == "UNSET is set now"


@pytest.mark.parametrize("line", [{"program": "node"}, {"variables": True}], ids=["program", "all read"])
def test_all_but_the_volatile_ones(checkout: Checkout, line: dict[str, object]) -> None:
    checkout.environ |= {"READER": "1", "TERM": "xterm", "USER": "me"}
    inputs = checkout.describe(checkout.record({"file": f"{checkout.root}/a.sql"}, line))
    assert {"LANG", "READER"} <= inputs.variables.keys()
    assert not {"PATH", "TERM", "HOME", "USER"} & inputs.variables.keys()
    checkout.environ |= {"TERM": "dumb", "USER": "you", "SSH_TTY": "/dev/pts/1"}
    assert checkout.difference(inputs) == ""
    check_each(checkout, inputs)


def test_read_besides_all(checkout: Checkout) -> None:
    checkout.environ["USER"] = "me"
    inputs = checkout.describe(checkout.record({"variable": "USER"}, {"variables": True}))
    checkout.environ["USER"] = "you"
    assert checkout.difference(inputs) == "USER is set to another value"


def test_patterns(checkout: Checkout) -> None:
    checkout.names = ("SEED_*", "READER", "UNSET")
    checkout.environ |= {"READER": "1", "SEED_A": "1"}
    inputs = checkout.describe(checkout.record({"variable": "OTHER"}))
    assert [*inputs.variables] == ["READER", "SEED_A", "UNSET"]
    checkout.environ["OTHER"] = "1"
    assert checkout.difference(inputs) == ""
    checkout.environ["SEED_B"] = "1"
    assert checkout.difference(inputs) == "SEED_B is set now"
    del checkout.environ["SEED_B"]
    check_each(checkout, inputs)


def test_a_pattern_may_mean_volatile_variables_too(checkout: Checkout) -> None:
    checkout.names = ("PGH*",)
    checkout.environ |= {"PGHOST": "db", "PGPORT": "1"}
    assert [*checkout.describe().variables] == ["PGHOST"]
    checkout.names = ("*",)
    assert {"PATH", "PGHOST"}.isdisjoint(checkout.describe().variables)


def test_other_patterns(checkout: Checkout) -> None:
    checkout.names = ()
    inputs = checkout.describe()
    assert inputs.variables == {}
    checkout.names = None
    assert checkout.difference(inputs) == "[tool.dbtools] variables changed"


def test_a_value_of_any_bytes(checkout: Checkout) -> None:
    checkout.environ["READER"] = os.fsdecode(b"\xff")
    inputs = checkout.describe(checkout.record({"variable": "READER"}))
    assert checkout.difference(inputs) == ""
