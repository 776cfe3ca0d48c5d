"""The users with fixed ids: who is there when, and how a contradictory environment is refused."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbtools.errors import ConfigurationError
from groombook.known_users import environment_users, known_users

if TYPE_CHECKING:
    from dbtools.dataset import Dataset

DAY = dt.date(2026, 11, 23)
MIDNIGHT = "2026-11-23 00:00:00"
EVERYTHING = {
    "SEED_ADMIN_EMAIL": "boss@example.com",
    "SEED_ADMIN_NAME": "The Boss",
    "SEED_UAT_SUPER_OIDC_SUB": "super-sub",
    "SEED_UAT_STAFF_OIDC_SUB": "staff-sub",
    "SEED_UAT_GROOMER_EMAILS": "one@example.com, two@example.com",
    "SEED_UAT_GROOMER_NAMES": "Groomer One,Groomer Two",
}


def fixed_id(number: int) -> str:
    return f"00000000-0000-0000-0000-{number:012}"


def rows(dataset: Dataset, table: str) -> list[dict[str, Any]]:
    return [
        dict(zip(rows.columns, row, strict=True)) for rows in dataset.tables if rows.table == table for row in rows.rows
    ]


def staff(dataset: Dataset) -> list[tuple[object, ...]]:
    columns = ("id", "name", "email", "oidc_sub", "role", "is_super_user")
    return [tuple(row[column] for column in columns) for row in rows(dataset, "staff")]


MANAGER = (fixed_id(1), "Demo Manager", "demo-manager@groombook.dev", "demo-manager-001", "manager", True)
NAMED = [
    (fixed_id(2), "The Boss", "boss@example.com", None, "manager", True),
    (fixed_id(3), "UAT Super", "uat-super@groombook.dev", "super-sub", "manager", True),
    (fixed_id(4), "UAT Groomer", "uat-groomer@groombook.dev", "staff-sub", "groomer", False),
    (fixed_id(5), "Groomer One", "one@example.com", None, "groomer", False),
    (fixed_id(6), "Groomer Two", "two@example.com", None, "groomer", False),
]


def test_an_environment_without_users_gives_no_tables() -> None:
    assert environment_users({}, DAY).tables == ()
    assert environment_users({}, DAY).summary == ()
    assert environment_users(dict.fromkeys(EVERYTHING, ""), DAY) == environment_users({}, DAY)
    assert environment_users(dict.fromkeys(EVERYTHING, "  "), DAY) == environment_users({}, DAY)


def test_users_of_the_environment() -> None:
    dataset = environment_users(EVERYTHING, DAY)
    assert [table.table for table in dataset.tables] == ["staff"]
    assert staff(dataset) == NAMED
    assert dataset.summary == ("Ensured 5 users named in the environment",)


def test_known_users_alone() -> None:
    dataset = known_users({}, DAY)
    assert [table.table for table in dataset.tables] == ["staff", "clients", "pets"]
    assert staff(dataset) == [MANAGER]
    (client,) = rows(dataset, "clients")
    assert (client["id"], client["name"]) == (fixed_id(2), "Demo Client")
    assert client["email"] == "demo-client@example.com"
    (pet,) = rows(dataset, "pets")
    assert (pet["id"], pet["client_id"], pet["name"]) == (fixed_id(3), fixed_id(2), "Demo Dog")
    assert (pet["breed"], pet["weight_kg"]) == ("Golden Retriever", "30.00")
    assert pet["date_of_birth"] == "2020-06-15 00:00:00"
    assert dataset.summary == ("Ensured Demo Manager, Demo Client and Demo Dog",)


def test_known_users_and_those_of_the_environment() -> None:
    dataset = known_users(EVERYTHING, DAY)
    assert staff(dataset) == [MANAGER, *NAMED]
    assert dataset.summary == (
        "Ensured Demo Manager, Demo Client and Demo Dog",
        "Ensured 5 users named in the environment",
    )


def test_times_come_from_the_date_alone() -> None:
    dataset = known_users(EVERYTHING, DAY)
    for table in dataset.tables:
        for row in rows(dataset, table.table):
            assert row["created_at"] == row["updated_at"] == MIDNIGHT


def test_the_admin_has_a_name_without_one_given() -> None:
    ((_, name, *_),) = staff(environment_users({"SEED_ADMIN_EMAIL": "boss@example.com"}, DAY))
    assert name == "Admin"
    assert environment_users({"SEED_ADMIN_EMAIL": "boss@example.com"}, DAY).summary == (
        "Ensured 1 user named in the environment",
    )


def test_a_name_without_an_address_adds_nobody() -> None:
    assert environment_users({"SEED_ADMIN_NAME": "The Boss"}, DAY).tables == ()


def test_groomers_are_numbered_in_decimal_digits() -> None:
    numbers = range(1, 9)
    environ = {
        "SEED_UAT_GROOMER_EMAILS": ",".join(f"g{number}@example.com" for number in numbers),
        "SEED_UAT_GROOMER_NAMES": ",".join(f"G {number}" for number in numbers),
    }
    assert [row["id"] for row in rows(environment_users(environ, DAY), "staff")][-3:] == [
        "00000000-0000-0000-0000-000000000010",
        "00000000-0000-0000-0000-000000000011",
        "00000000-0000-0000-0000-000000000012",
    ]


@given(st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"])))
def test_names_are_only_values(name: str) -> None:
    environ = {"SEED_ADMIN_EMAIL": "boss@example.com", "SEED_ADMIN_NAME": name}
    ((_, given_name, *_),) = staff(environment_users(environ, DAY))
    assert given_name == (name.strip(" ") or "Admin")


def test_hostile_names_are_only_values() -> None:
    hostile = "Robert'); DROP TABLE staff;-- \\N \"$$ {0} %s"
    environ = {"SEED_UAT_GROOMER_EMAILS": "r@example.com", "SEED_UAT_GROOMER_NAMES": hostile}
    ((_, name, *_),) = staff(known_users(environ, DAY))[1:]
    assert name == hostile


DISTINCT_ADDRESS = "Give each user of SEED_ADMIN_EMAIL and SEED_UAT_GROOMER_EMAILS an address of its own."
DISTINCT_SUB = "Give SEED_UAT_SUPER_OIDC_SUB and SEED_UAT_STAFF_OIDC_SUB a value of their own each."
ONE_LINE = "Set SEED_ADMIN_NAME to one line of plain text."

REFUSED = {
    "lists of different length": (
        {"SEED_UAT_GROOMER_EMAILS": "a@example.com,b@example.com", "SEED_UAT_GROOMER_NAMES": "A"},
        (
            "SEED_UAT_GROOMER_EMAILS and SEED_UAT_GROOMER_NAMES do not match.\n"
            "The first lists 2, the second 1; every groomer needs one of each.\n"
            "Give both as comma-separated lists of the same length, or neither."
        ),
    ),
    "one list only": (
        {"SEED_UAT_GROOMER_NAMES": "A"},
        (
            "SEED_UAT_GROOMER_EMAILS and SEED_UAT_GROOMER_NAMES do not match.\n"
            "The first lists 0, the second 1; every groomer needs one of each.\n"
            "Give both as comma-separated lists of the same length, or neither."
        ),
    ),
    "empty entry": (
        {"SEED_UAT_GROOMER_EMAILS": "a@example.com, ,c@example.com", "SEED_UAT_GROOMER_NAMES": "A,B,C"},
        (
            "SEED_UAT_GROOMER_EMAILS has an empty entry.\n"
            "Entry 2 of 3 is empty: a@example.com, ,c@example.com\n"
            "Remove the extra comma, or fill the entry in."
        ),
    ),
    "empty entry at the end": (
        {"SEED_UAT_GROOMER_EMAILS": "a@example.com", "SEED_UAT_GROOMER_NAMES": "A,"},
        (
            "SEED_UAT_GROOMER_NAMES has an empty entry.\n"
            "Entry 2 of 2 is empty: A,\n"
            "Remove the extra comma, or fill the entry in."
        ),
    ),
    "no address": (
        {"SEED_ADMIN_EMAIL": "boss"},
        (
            "SEED_ADMIN_EMAIL needs an email address.\n"
            '"boss" is none: it must be one name, an @ and one domain, without spaces.\n'
            "Set SEED_ADMIN_EMAIL to an address such as someone@example.com."
        ),
    ),
    "no address in a list": (
        {"SEED_UAT_GROOMER_EMAILS": "a@example.com,b@", "SEED_UAT_GROOMER_NAMES": "A,B"},
        (
            "SEED_UAT_GROOMER_EMAILS needs an email address.\n"
            '"b@" is none: it must be one name, an @ and one domain, without spaces.\n'
            "Set SEED_UAT_GROOMER_EMAILS to an address such as someone@example.com."
        ),
    ),
    "control character": (
        {"SEED_ADMIN_EMAIL": "boss@example.com", "SEED_ADMIN_NAME": "The\nBoss\x1b[2J"},
        "SEED_ADMIN_NAME cannot be used.\n"
        "'The\\nBoss\\x1b[2J' holds a control character, a line break or bytes that are not UTF-8.\n" + ONE_LINE,
    ),
    "not UTF-8": (
        {"SEED_ADMIN_EMAIL": "boss@example.com", "SEED_ADMIN_NAME": "B\udcffss"},
        "SEED_ADMIN_NAME cannot be used.\n"
        "'B\\udcffss' holds a control character, a line break or bytes that are not UTF-8.\n" + ONE_LINE,
    ),
    "one address twice": (
        {"SEED_UAT_GROOMER_EMAILS": "a@example.com,A@Example.com", "SEED_UAT_GROOMER_NAMES": "A,B"},
        "The environment names a user twice.\n"
        "The address A@Example.com is taken by another known user (capital letters do not count).\n" + DISTINCT_ADDRESS,
    ),
    "the demo manager's address": (
        {"SEED_ADMIN_EMAIL": "demo-manager@groombook.dev"},
        "The environment names a user twice.\n"
        "The address demo-manager@groombook.dev is taken by another known user (capital letters do not"
        " count).\n" + DISTINCT_ADDRESS,
    ),
    "one subject twice": (
        {"SEED_UAT_SUPER_OIDC_SUB": "same", "SEED_UAT_STAFF_OIDC_SUB": "same"},
        "The environment names a user twice.\n"
        "The sign-in subject same is taken by another known user.\n" + DISTINCT_SUB,
    ),
    "the demo manager's subject": (
        {"SEED_UAT_SUPER_OIDC_SUB": "demo-manager-001"},
        "The environment names a user twice.\n"
        "The sign-in subject demo-manager-001 is taken by another known user.\n" + DISTINCT_SUB,
    ),
}


@pytest.mark.parametrize(("environ", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_contradictory_environments_are_refused(environ: dict[str, str], message: str) -> None:
    for users in (environment_users, known_users):
        with pytest.raises(ConfigurationError) as caught:
            users(environ, DAY)
        assert str(caught.value) == message
        assert caught.value.exit_code == 2
