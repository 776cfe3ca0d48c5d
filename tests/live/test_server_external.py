"""A server that is there already: used as it is, and left as it is."""

from __future__ import annotations

import psycopg
import pytest

from dbtools.db.dsn import Dsn
from dbtools.errors import DatabaseUnreachable, ServerError
from dbtools.server.borrowed import BorrowedServer, is_superuser
from dbtools.server.external import ExternalServer


def test_it_is_used_and_left_running(pg_admin: str) -> None:
    with ExternalServer(pg_admin) as server:
        assert server.kind == "existing"
        url = server.create_database("made by a test")
        with psycopg.connect(url) as connection:
            assert connection.execute("select current_database()").fetchone() == ("made by a test",)
        server.drop_database("made by a test")
    with psycopg.connect(pg_admin) as connection:
        assert connection.execute("select count(*) from pg_database where datname = 'made by a test'").fetchone() == (
            0,
        )
        row = connection.execute("show server_version").fetchone()
        assert row is not None
        assert server.version == row[0]


def test_a_role_that_may_not_create_databases_is_told_what_to_grant(pg_database: str, pg_admin: str) -> None:
    server, role = ExternalServer(pg_database), Dsn.parse(pg_database).user
    with psycopg.connect(pg_admin, autocommit=True) as admin:
        admin.execute(f"alter role {role} nocreatedb".encode())
        try:
            with pytest.raises(ServerError) as caught:
                server.create_database("more")
        finally:
            admin.execute(f"alter role {role} createdb".encode())
    assert caught.value.what.startswith("Cannot create a database on 127.0.0.1:")
    assert caught.value.reason == "permission denied to create database."
    assert caught.value.hint == f'As a superuser: alter role "{role}" createdb;'


def test_a_server_that_does_not_let_us_in_is_unreachable(pg_database: str) -> None:
    with pytest.raises(DatabaseUnreachable, match="Cannot reach database nowhere on "):
        ExternalServer(Dsn.parse(pg_database).with_database("nowhere").url)


def test_a_superusers_server_is_lent_and_given_back_as_it_was(pg_admin: str) -> None:
    with psycopg.connect(pg_admin, autocommit=True) as admin, BorrowedServer(ExternalServer(pg_admin)) as server:
        owned = f"select datname::text from pg_database where datdba::regrole::text = '{server.role}' order by 1"
        roles = f"select rolsuper from pg_roles where rolname = '{server.role}'"
        with psycopg.connect(server.url, autocommit=True) as role:
            role.execute(f"create database {server.role}_2")
        inside = psycopg.connect(server.create_database(f"{server.role}_3"), autocommit=True)
        assert admin.execute(owned.encode()).fetchall() == [(server.role + end,) for end in ("", "_2", "_3")]
        assert admin.execute(roles.encode()).fetchall() == [(False,)]
        assert (server.kind, server.admin_url) == ("existing", Dsn.parse(pg_admin).url)
        assert not is_superuser(ExternalServer(server.url))
        server.stop()
        with pytest.raises(psycopg.OperationalError):
            inside.execute("select 1")
        assert admin.execute(roles.encode()).fetchall() == []
    assert is_superuser(ExternalServer(pg_admin))
