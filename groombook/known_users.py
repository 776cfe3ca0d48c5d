"""Users with fixed ids to sign in with: the demo trio, and those named in the environment.

A full seed adds the users named in the environment only; the mode for known users adds the demo trio too.
Values of the environment are stripped of spaces around them, and an empty one counts as unset.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

from dbtools.dataset import Dataset, TableRows
from dbtools.errors import ConfigurationError
from groombook.generate_dates import Days
from groombook.generate_rows import COLUMNS, Row, client_row, pet_row, staff_row

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping

ADMIN_EMAIL, ADMIN_NAME = "SEED_ADMIN_EMAIL", "SEED_ADMIN_NAME"
SUPER_SUB, STAFF_SUB = "SEED_UAT_SUPER_OIDC_SUB", "SEED_UAT_STAFF_OIDC_SUB"
GROOMER_EMAILS, GROOMER_NAMES = "SEED_UAT_GROOMER_EMAILS", "SEED_UAT_GROOMER_NAMES"

DEMO_MANAGER = ("Demo Manager", "demo-manager@groombook.dev", "demo-manager-001")
FIRST_GROOMER = 5

_ADDRESS = re.compile(r"[^@\s]+@[^@\s]+")


def fixed_id(number: int) -> str:
    """Return 00000000-0000-0000-0000-… with the number's decimal digits at the end."""
    return f"00000000-0000-0000-0000-{number:012}"


DEMO_CLIENT_ID, DEMO_PET_ID = fixed_id(2), fixed_id(3)


def environment_users(environ: Mapping[str, str], as_of: dt.date) -> Dataset:
    """Return the staff that the environment asks for; without such variables, a dataset without tables.

    Raises:
        ConfigurationError: A value cannot be used, or the variables contradict each other.
    """
    rows = _environment_staff(environ, Days(as_of).at(0, 0))
    if not rows:
        return Dataset(())
    people = "1 user" if len(rows) == 1 else f"{len(rows)} users"
    return Dataset((_table("staff", rows),), (f"Ensured {people} named in the environment",))


def known_users(environ: Mapping[str, str], as_of: dt.date) -> Dataset:
    """Return the demo manager, client and dog, and what `environment_users` does.

    Raises:
        ConfigurationError: As for `environment_users`.
    """
    days = Days(as_of)
    created = days.at(0, 0)
    name, email, sub = DEMO_MANAGER
    manager = staff_row(fixed_id(1), name, email, sub, "manager", created, super_user=True)
    client = client_row(DEMO_CLIENT_ID, "Demo Client", "demo-client@example.com", "(555) 100-0000", None, None, created)
    born = "2020-06-15 00:00:00"
    pet = pet_row(DEMO_PET_ID, DEMO_CLIENT_ID, "Demo Dog", "Dog", "Golden Retriever", "30.00", born, created)
    others = environment_users(environ, as_of)
    named = [row for table in others.tables for row in table.rows]
    return Dataset(
        (_table("staff", [manager, *named]), _table("clients", [client]), _table("pets", [pet])),
        ("Ensured Demo Manager, Demo Client and Demo Dog", *others.summary),
    )


def _environment_staff(environ: Mapping[str, str], created: str) -> list[Row]:
    rows: list[Row] = []
    if email := _value(environ, ADMIN_EMAIL):
        name = _value(environ, ADMIN_NAME) or "Admin"
        _require_address(ADMIN_EMAIL, email)
        rows.append(staff_row(fixed_id(2), name, email, None, "manager", created, super_user=True))
    if sub := _value(environ, SUPER_SUB):
        rows.append(
            staff_row(fixed_id(3), "UAT Super", "uat-super@groombook.dev", sub, "manager", created, super_user=True)
        )
    if sub := _value(environ, STAFF_SUB):
        rows.append(
            staff_row(
                fixed_id(4), "UAT Groomer", "uat-groomer@groombook.dev", sub, "groomer", created,
                super_user=False,
            )
        )  # fmt: skip
    for number, (email, name) in enumerate(_groomers(environ), start=FIRST_GROOMER):
        rows.append(staff_row(fixed_id(number), name, email, None, "groomer", created, super_user=False))
    _require_distinct(rows)
    return rows


def _groomers(environ: Mapping[str, str]) -> list[tuple[str, str]]:
    emails, names = _list(environ, GROOMER_EMAILS), _list(environ, GROOMER_NAMES)
    if len(emails) != len(names):
        raise ConfigurationError(
            f"{GROOMER_EMAILS} and {GROOMER_NAMES} do not match.",
            f"The first lists {len(emails)}, the second {len(names)}; every groomer needs one of each.",
            "Give both as comma-separated lists of the same length, or neither.",
        )
    for email in emails:
        _require_address(GROOMER_EMAILS, email)
    return list(zip(emails, names, strict=True))


def _value(environ: Mapping[str, str], variable: str) -> str:
    value = environ.get(variable, "").strip(" ")
    # Cc: control characters. Cs: what Python makes of bytes that are not UTF-8. Zl, Zp: line breaks too.
    if any(unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"} for character in value):
        raise ConfigurationError(
            f"{variable} cannot be used.",
            f"{value!a} holds a control character, a line break or bytes that are not UTF-8.",
            f"Set {variable} to one line of plain text.",
        )
    return value


def _list(environ: Mapping[str, str], variable: str) -> list[str]:
    value = _value(environ, variable)
    if not value:
        return []
    entries = [entry.strip(" ") for entry in value.split(",")]
    if "" in entries:
        raise ConfigurationError(
            f"{variable} has an empty entry.",
            f"Entry {entries.index('') + 1} of {len(entries)} is empty: {value}",
            "Remove the extra comma, or fill the entry in.",
        )
    return entries


def _require_address(variable: str, email: str) -> None:
    if not _ADDRESS.fullmatch(email):
        raise ConfigurationError(
            f"{variable} needs an email address.",
            f'"{email}" is none: it must be one name, an @ and one domain, without spaces.',
            f"Set {variable} to an address such as someone@example.com.",
        )


def _require_distinct(rows: list[Row]) -> None:
    """Refuse two users with one address or one sign-in subject: the second would be left out without a word.

    The demo manager's count as taken in both modes, so that an environment that works in one works in the
    other.
    """
    _, demo_email, demo_sub = DEMO_MANAGER
    emails, subs = [demo_email], [demo_sub]
    for _, _, email, sub, *_ in rows:
        if str(email).casefold() in emails:
            raise ConfigurationError(
                "The environment names a user twice.",
                f"The address {email} is taken by another known user (capital letters do not count).",
                f"Give each user of {ADMIN_EMAIL} and {GROOMER_EMAILS} an address of its own.",
            )
        if sub in subs:
            raise ConfigurationError(
                "The environment names a user twice.",
                f"The sign-in subject {sub} is taken by another known user.",
                f"Give {SUPER_SUB} and {STAFF_SUB} a value of their own each.",
            )
        emails.append(str(email).casefold())
        if sub:
            subs.append(str(sub))


def _table(table: str, rows: list[Row]) -> TableRows:
    return TableRows(table, tuple(COLUMNS[table].split()), rows)
