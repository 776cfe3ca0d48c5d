"""What one server has and another one lacks: the extension of the wheel, and who owns the schema public."""

from __future__ import annotations

import psycopg
import pytest


def need_vector(admin_url: str) -> None:
    """Skip the test where the server has no extension `vector`: the wheel's does, a distribution's may not."""
    if not _has_vector(admin_url):
        pytest.skip("the server has no extension vector")


def make_vector(admin_url: str) -> None:
    """Make the extension `vector`, for the superuser."""
    need_vector(admin_url)
    with psycopg.connect(admin_url, autocommit=True) as admin:
        admin.execute("create extension vector")


def own_public(admin_url: str) -> None:
    """Give the schema public to the owner of the database, as it is from PostgreSQL 15 on."""
    with psycopg.connect(admin_url, autocommit=True) as admin:
        admin.execute("alter schema public owner to pg_database_owner")


def without_vector(sql: str, admin_url: str) -> str:
    """Return the statements that need no `vector`, where the server has none; each is in lines of its own."""
    if _has_vector(admin_url):
        return sql
    return "".join(line for line in sql.splitlines(keepends=True) if "vector" not in line and " embedded " not in line)


def major(url: str) -> int:
    """Return the server's major version."""
    with psycopg.connect(url) as connection:
        return connection.info.server_version // 10000


def _has_vector(url: str) -> bool:
    with psycopg.connect(url) as connection:
        return bool(connection.execute("select from pg_available_extensions where name = 'vector'").fetchall())
