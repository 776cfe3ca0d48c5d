"""Sandboxes' names, and which words of the command line get one."""

import pytest

from dbtools.clones.sandbox import branch_name, database_name
from dbtools.commands.sandbox import insert_names
from dbtools.errors import ConfigurationError


def test_the_database_is_named_for_the_project_and_the_sandbox() -> None:
    assert database_name("My-Shop", "Try.1-b_c") == "sandbox_my_shop_Try.1-b_c"
    assert len(database_name("shop", "x" * 50)) == 63
    assert branch_name("feature/Log-in") == "feature_log_in"
    assert branch_name("-x-") == "x"


def test_a_name_with_other_characters_is_refused() -> None:
    with pytest.raises(ConfigurationError) as caught:
        database_name("shop", "a/b")
    assert str(caught.value) == (
        "A sandbox cannot be called 'a/b'.\n"
        "Its name may have the letters a to z and A to Z, digits, '_', '.' and, after one of these, '-'. "
        "Nothing was changed.\n"
        "For example: invoke sandbox a_b"
    )
    with pytest.raises(ConfigurationError, match="invoke sandbox mine$"):
        database_name("shop", "//")


def test_a_name_that_is_too_long_is_refused() -> None:
    with pytest.raises(ConfigurationError) as caught:
        database_name("shop", "x" * 51)
    assert str(caught.value) == (
        f"The sandbox's name {'x' * 51} is too long.\n"
        f"Its database would be called sandbox_shop_{'x' * 51}, and a name may have 63 characters."
        " Nothing was changed.\n"
        "Choose a name of at most 50 characters."
    )
    for long in ("p" * 60, "p" * 54):
        with pytest.raises(ConfigurationError, match="Give the project's folder a shorter name"):
            database_name(long, "x")
    with pytest.raises(ConfigurationError, match="at most 1 characters"):
        database_name("p" * 53, "xx")


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (["inv", "sandbox", "mine"], ["inv", "sandbox", "mine"]),
        (["inv", "sandbox", "--branch"], ["inv", "sandbox", "", "--branch"]),
        (["inv", "sandbox.drop", "--all"], ["inv", "sandbox.drop", "", "--all"]),
        (["inv", "reset", "--all"], ["inv", "reset", "--all"]),
    ],
)
def test_an_option_stands_in_for_the_name(given: list[str], wanted: list[str]) -> None:
    insert_names(given)
    assert given == wanted
