"""Which error of the server ended a program, by what the program printed.

Programs print the server's words, its SQLSTATE, or the name of a driver's class for it. The words are known in English;
where the server speaks another language, the other two remain.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_WORDS = [
    (re.compile(pattern), state)
    for pattern, state in (
        (r'duplicate key value violates unique constraint "(.+?)"', "23505"),
        (r'violates foreign key constraint "(.+?)"', "23503"),
        (r'violates check constraint "(.+?)"', "23514"),
        (r'null value in column "(.+?)"', "23502"),
        # What belongs to a relation is named with it, so it comes before relations.
        (r'column "?([^"]+?)"? (?:of relation ".+?" )?does not exist', "42703"),
        (r'(?:type|constraint|trigger) "(.+?)" (?:(?:of|for) (?:relation|table) ".+?" )?does not exist', "42704"),
        (r'(?:type|constraint|trigger|extension) "(.+?)" (?:for relation ".+?" )?already exists', "42710"),
        (r'relation "(.+?)" does not exist', "42P01"),
        (r'relation "(.+?)" already exists', "42P07"),
        (r'schema "(.+?)" does not exist', "3F000"),
        (r'schema "(.+?)" already exists', "42P06"),
        (r"no schema has been selected to create in", "3F000"),
        (r"deadlock detected", "40P01"),
        (r"could not serialize access", "40001"),
        (r"canceling statement due to lock timeout", "55P03"),
        (r"tuple concurrently (?:updated|deleted)|cache lookup failed|could not open relation with OID", "XX000"),
    )
]
# code: '23505' of Node's drivers, Code: `23505` of Prisma, 'C': '23505' of pg8000, SQLSTATE[23505] of others.
_CODE = re.compile(
    r"(?:code|sqlstate|'C')\W{1,4}((?:0[0-9A-Z]|2[0-9A-Z]|4[0-4]|5[3-8]|XX)[0-9A-Z]{3})\b", re.IGNORECASE
)
_CLASS = re.compile(r"\b([A-Z]\w+?)(?:Error)?\b")


@dataclass(frozen=True)
class Diagnosis:
    """An error of the server, and the line that shows it."""

    sqlstate: str
    subject: str
    """The constraint or relation, or else psycopg's name for the error's class."""
    line: str


def diagnose(lines: Sequence[str]) -> Diagnosis | None:
    """Return the last error of the server that the lines show, None where they show none."""
    from psycopg import errors

    for line in reversed(lines):
        for pattern, state in _WORDS:
            if found := pattern.search(line):
                subject = found[1] if pattern.groups else errors.lookup(state).__name__
                return Diagnosis(state, subject, line.strip())
    classes = {name: getattr(kind, "sqlstate", None) for name, kind in vars(errors).items()}
    for line in reversed(lines):
        if found := _CODE.search(line):
            return _named(found[1].upper(), line)
        for found in _CLASS.finditer(line):
            if code := classes.get(found[1]):
                return _named(code, line)
    return None


def _named(state: str, line: str) -> Diagnosis:
    from psycopg import errors

    try:
        name = errors.lookup(state).__name__
    except KeyError:
        name = ""
    return Diagnosis(state, name, line.strip())
