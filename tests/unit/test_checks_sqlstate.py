"""What Node's drivers print of an error, as node 20 with pg 8, postgres 3 and knex 3 did."""

from __future__ import annotations

import pytest

from dbtools.checks.sqlstate import Diagnosis, diagnose

REST = "  severity: 'ERROR',\n  code: '23505',\n  detail: 'Key (id)=(1) already exists.',\n}\n\nNode.js v20.20.2"
OUTPUTS = {
    "pg": 'error: duplicate key value violates unique constraint "t_pkey"',
    "postgres": 'PostgresError: duplicate key value violates unique constraint "t_pkey"',
    "knex": 'error: insert into "t" ("id") values ($1) - duplicate key value violates unique constraint "t_pkey"',
}


@pytest.mark.parametrize("line", OUTPUTS.values(), ids=OUTPUTS)
def test_the_words_name_the_constraint(line: str) -> None:
    assert diagnose([line, "    at client.js:694:17 {", *REST.splitlines()]) == Diagnosis("23505", "t_pkey", line)


def test_words_in_another_language_leave_the_code() -> None:
    lines = ["error: doppelter Schlüsselwert verletzt Unique-Constraint »t_pkey«", *REST.splitlines()]
    assert diagnose(lines) == Diagnosis("23505", "UniqueViolation", "code: '23505',")


def test_output_without_an_error_of_the_server_has_none() -> None:
    assert diagnose(["Traceback (most recent call last):", '  File "seed.py", line 1', "KeyError: 'url'"]) is None
    assert diagnose(["SyntaxError: invalid syntax", "Listening on port 23505", "exit code: 1"]) is None
