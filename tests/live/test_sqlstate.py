"""What real programs print when the server refuses a statement, and which error is read in it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from dbtools.build.programs import find_program
from dbtools.checks.sqlstate import Diagnosis, diagnose

SQLALCHEMY = """
import sqlalchemy
engine = sqlalchemy.create_engine(os.environ["URL"].replace("postgresql", "postgresql+{driver}"))
def run(sql):
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text(sql))
"""
PLAIN = """
import {driver}
def run(sql):
    with {driver}.connect(os.environ["URL"]) as connection:
        connection.cursor().execute(sql)
"""
ASYNCPG = """
import asyncio, asyncpg
async def execute(sql):
    connection = await asyncpg.connect(os.environ["URL"])
    await connection.execute(sql)
def run(sql):
    asyncio.run(execute(sql))
"""
SILENT = """
import psycopg
def run(sql):
    try:
        psycopg.connect(os.environ["URL"]).execute(sql)
    except psycopg.Error as error:
        print("it failed:", {shown})
"""
EACH = """
import json, os, sys, traceback
{program}
for sql in json.loads(sys.argv[1]):
    try:
        run(sql)
    except Exception:
        traceback.print_exc(file=sys.stdout)
    print("{end}")
"""
END = "-- end of one"
PROGRAMS = {
    "psycopg": PLAIN.format(driver="psycopg"),
    "psycopg2": PLAIN.format(driver="psycopg2"),
    "asyncpg": ASYNCPG,
    "SQLAlchemy, psycopg": SQLALCHEMY.format(driver="psycopg"),
    "SQLAlchemy, psycopg2": SQLALCHEMY.format(driver="psycopg2"),
    "SQLAlchemy, pg8000": SQLALCHEMY.format(driver="pg8000"),
}
ERRORS = {
    "create temp table t (id int primary key); insert into t values (1), (1)": ("23505", "t_pkey"),
    "create temp table t (id int check (id > 1)); insert into t values (1)": ("23514", "t_id_check"),
    "create temp table t (id int not null); insert into t values (null)": ("23502", "id"),
    "insert into items values (1)": ("42P01", "items"),
    "create temp table t (id int); create temp table t (id int)": ("42P07", "t"),
    "create temp table t (id int); alter table t drop column name": ("42703", "name"),
    "create temp table t (id int); alter table t drop constraint name": ("42704", "name"),
    "create temp table t (id int constraint c unique); alter table t add constraint c check (id > 1)": ("42710", "c"),
    "create schema s; create schema s": ("42P06", "s"),
    "drop schema s": ("3F000", "s"),
    "set search_path to s; create table t ()": ("3F000", "InvalidSchemaName"),
}


def printed(program: str, url: str, *statements: str) -> list[list[str]]:
    """The lines that a Python program prints for each of the statements."""
    text = EACH.format(program=program, end=END)
    command = [sys.executable, "-c", text, json.dumps(statements)]
    done = subprocess.run(command, env=os.environ | {"URL": url}, text=True, capture_output=True, check=True)
    return [part.strip().splitlines() for part in done.stdout.split(END)[:-1]]


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_error_is_read_from_what_a_python_program_prints(name: str, pg_database: str) -> None:
    # As one statement: some drivers send no more at a time.
    outputs = printed(PROGRAMS[name], pg_database, *(f"do $do$ begin {sql}; end $do$" for sql in ERRORS))
    for lines, wanted in zip(outputs, ERRORS.values(), strict=True):
        found = diagnose(lines)
        assert found is not None, lines
        assert (found.sqlstate, found.subject) == wanted, lines


def test_the_error_is_read_from_what_psql_prints(pg_database: str) -> None:
    for sql, wanted in ERRORS.items():
        command = [str(find_program("psql", 16)), "-X", "-c", sql, pg_database]
        lines = subprocess.run(command, text=True, capture_output=True).stderr.splitlines()
        found = diagnose(lines)
        assert found is not None, lines
        assert (found.sqlstate, found.subject) == wanted, lines


@pytest.mark.parametrize("shown", ["type(error).__name__", "'SQLSTATE', error.sqlstate", "repr({'C': error.sqlstate})"])
def test_the_code_or_the_name_of_a_class_is_enough(shown: str, pg_database: str) -> None:
    (lines,) = printed(SILENT.format(shown=shown), pg_database, "select 1 / 0")
    assert diagnose(lines) == Diagnosis("22012", "DivisionByZero", lines[-1])
