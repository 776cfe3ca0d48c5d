"""The settings that a database is given from another one, and one that cannot be dropped."""

from __future__ import annotations

import psycopg
import pytest

from dbtools.db.databases import copy_settings, drop_database
from dbtools.db.dsn import Dsn
from dbtools.db.sql import quote
from tests.support.sessions import Connect

SETTINGS = """
select setting from pg_database d join pg_db_role_setting s on s.setdatabase = d.oid, unnest(s.setconfig) setting
where d.datname = %s and s.setrole = 0 order by lower(setting) collate "C"
"""


def test_settings_are_copied_but_for_those_of_a_role_and_those_that_the_role_may_not_set(
    pg_admin: str, pg_database: str, connect: Connect
) -> None:
    here, admin, session = quote(Dsn.parse(pg_database).dbname), connect(url=pg_admin), connect()
    (role,) = session.execute("select quote_ident(current_user)").fetchone() or ("",)
    session.execute("create database copied")
    try:
        for setting in (
            'search_path to "a, b", public',
            "datestyle to sql, dmy",
            "work_mem to '1MB'",
            "application_name to 'a''b=c'",
        ):
            admin.execute(f"alter database {here} set {setting}".encode())
        admin.execute(f"alter database {here} set session_preload_libraries to one, two".encode())
        admin.execute(f"alter role {role} in database {here} set jit to off".encode())
        admin.execute("create database another")
        admin.execute("alter database another set jit to off")
        wanted = ["application_name=a'b=c", "DateStyle=sql, dmy", 'search_path="a, b", public', "work_mem=1MB"]
        copy_settings(session, "copied")
        assert session.execute(SETTINGS, ("copied",)).fetchall() == [(text,) for text in wanted]
        copy_settings(admin, "copied")
        loaded = ("session_preload_libraries=one, two",)
        assert loaded in session.execute(SETTINGS, ("copied",)).fetchall()
    finally:
        admin.execute(f"alter database {here} reset all".encode())
        for name in ("copied", "another"):
            drop_database(admin, name)


def test_a_database_that_the_role_may_not_drop_is_an_error_at_the_last_try_too(
    pg_admin: str, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin, session = connect(url=pg_admin), connect()
    admin.execute("create database theirs")
    try:
        for tries in (5, 1):
            monkeypatch.setattr("dbtools.db.databases.DROP_TRIES", tries)
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="must be owner"):
                drop_database(session, "theirs")
    finally:
        drop_database(admin, "theirs")
