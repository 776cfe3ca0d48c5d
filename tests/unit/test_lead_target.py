"""Where a led connection goes: our database in the words of each driver, with what the project says of the session."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest

from dbtools.build.lead.target import Target, describe, parse, session_settings

OURS = "postgresql://app:s3cret@db:6432/scratch"
ASYNCPG = dict.fromkeys(
    ("dsn", "host", "port", "user", "password", "database", "server_settings", "passfile", "service", "ssl", "timeout")
)
PG8000 = dict.fromkeys(("host", "port", "unix_sock", "user", "password", "database", "sock", "ssl_context", "timeout"))
NO_TLS = object()
AUTHORITY = """\
-----BEGIN CERTIFICATE-----
MIIBaTCCAQ6gAwIBAgIBATAKBggqhkjOPQQDAjASMRAwDgYDVQQDDAdkYnRvb2xz
MCAXDTI2MTEyNzA4Mjg1MloYDzIxMjYxMTAzMDgyODUyWjASMRAwDgYDVQQDDAdk
YnRvb2xzMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEeF5eXlbHAVywOBCvqxoY
EKfy/F6yeFz8zv9bY1Ms4rtwrU5RfXeYp+PUxARuwQBoh4KWZ5Rt1TrzqRLMRU3a
jKNTMFEwHQYDVR0OBBYEFHHA/UHOZiOtjiXZ7XYXhKxRrQa5MB8GA1UdIwQYMBaA
FHHA/UHOZiOtjiXZ7XYXhKxRrQa5MA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZIzj0E
AwIDSQAwRgIhAPDtgDnJjz2Exw/S9eebf3fWt3qZX1JuT8vjw6fDxaxCAiEA+rm8
bdU3pO1gTnQPXRGIgKBBzbcrMTO/obWH2GBjd8w=
-----END CERTIFICATE-----
"""


@pytest.mark.parametrize(
    "url", ["postgresql://app@db", "postgresql:///scratch", "postgresql://app@db/?sslmode=disable"]
)
def test_a_url_that_leaves_the_choice_to_others_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="^DBTOOLS_LEAD_URL names no host, or no database$"):
        Target(url)


@pytest.mark.parametrize(
    ("url", "values"),
    [
        (OURS, {"user": "app", "password": "s3cret", "host": "db", "port": "6432", "dbname": "scratch"}),
        ("postgresql://a%40b:p%2F@h/d%20b", {"user": "a@b", "password": "p/", "host": "h", "dbname": "d b"}),
        ("postgresql://a@b:c@d@h/x", {"user": "a@b", "password": "c@d", "host": "h", "dbname": "x"}),
        ("postgresql://[::1]:5433/x", {"host": "::1", "port": "5433", "dbname": "x"}),
        ("postgresql://[::1]/x", {"host": "::1", "dbname": "x"}),
        ("postgresql://a:1,b/x", {"host": "a,b", "port": "1,5432", "dbname": "x"}),
        ("postgresql://h/x?host=other&dbname=y", {"host": "other", "dbname": "y"}),
        ("postgresql://h/x?database=y", {"host": "h", "dbname": "y"}),
        ("postgresql://h/x?options=a+b&hostaddr=", {"host": "h", "dbname": "x", "options": "a+b", "hostaddr": ""}),
    ],
)
def test_a_url_is_read_as_libpq_reads_it(url: str, values: dict[str, str]) -> None:
    assert parse(url) == values


def test_libpq_is_left_nothing_that_names_a_server() -> None:
    given = {
        "host": "prod", "hostaddr": "10.0.0.1", "user": "root", "dbname": "prod", "sslmode": "require",
        "service": "prod", "application_name": "seeder", "client_encoding": None, "connect_timeout": 5,
        "options": "-c work_mem=1MB prod",
    }  # fmt: skip
    where = {"host": "db", "hostaddr": "", "port": "6432", "user": "app", "password": "s3cret", "dbname": "scratch"}
    kept = {"application_name": "seeder", "connect_timeout": 5, "options": "-c work_mem=1MB"}
    assert Target(OURS).libpq(given) == {**where, "sslmode": "prefer", **kept}
    ours = Target("postgresql://db/scratch?options=-c%20role%3Down&application_name=ours&sslmode=disable&hostaddr=::1")
    assert ours.libpq({"options": "-c jit=off", "application_name": "seeder"}) == {
        "host": "db", "hostaddr": "::1", "port": "5432", "dbname": "scratch", "sslmode": "disable",
        "options": "-c role=own -c jit=off", "application_name": "seeder",
    }  # fmt: skip


def test_asyncpg_gets_our_place_and_the_projects_settings() -> None:
    given = ASYNCPG | {
        "dsn": "postgresql://x@prod:1/prod?search_path=own&sslmode=require&options=--work_mem%3D1MB%20prod&krbsrvname=p",
        "server_settings": {"jit": "off"}, "passfile": "pass", "service": "prod", "ssl": True, "timeout": 7,
    }  # fmt: skip
    assert Target(OURS).asyncpg(given) == {
        "dsn": "postgresql:///?sslmode=prefer", "host": ["db"], "port": [6432], "user": "app", "password": "s3cret",
        "database": "scratch", "server_settings": {"search_path": "own", "jit": "off", "options": "-c work_mem=1MB"},
        "passfile": None, "service": None, "ssl": None, "timeout": 7,
    }  # fmt: skip


def test_asyncpg_gets_a_port_for_each_host_and_only_arguments_that_it_has() -> None:
    two = "postgresql://a,b/scratch?sslmode=verify-ca&sslrootcert=a/b&options=-c%20role%3Down"
    found = Target(two).asyncpg(ASYNCPG | {"target_session_attrs": None, "dsn": "postgresql://h/x?options=-cjit%3Doff"})
    assert (found["host"], found["port"]) == (["a", "b"], [5432, 5432])
    assert found["dsn"] == "postgresql:///?sslmode=verify-ca&sslrootcert=a/b"
    assert found["server_settings"] == {"options": "-c role=own -c jit=off"}
    assert found["target_session_attrs"] == "any"
    found = Target("postgresql://a:1,b:2/scratch?hostaddr=::1,::2").asyncpg(ASYNCPG)
    assert (found["host"], found["port"], found["server_settings"]) == (["::1", "::2"], [1, 2], None)
    assert found.keys() == ASYNCPG.keys()


def test_pg8000_gets_one_host_and_a_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGUSER", "me")
    monkeypatch.setenv("PGPASSWORD", "mine")
    given = PG8000 | {"host": "prod", "unix_sock": "/prod", "sock": object(), "ssl_context": True, "timeout": 7}
    place = {"host": "db", "port": 6432, "unix_sock": None, "user": "app", "password": "s3cret", "database": "scratch"}
    assert Target(OURS).pg8000(given, NO_TLS) == {**place, "sock": None, "ssl_context": None, "timeout": 7}
    found = Target("postgresql://a:1,b:2/scratch?hostaddr=::1").pg8000(PG8000, NO_TLS)
    assert (found["host"], found["port"], found["user"], found["password"]) == ("::1", 1, "me", "mine")
    found = Target("postgresql:///scratch?host=/run/pg&hostaddr=::1&sslmode=require").pg8000(PG8000, NO_TLS)
    assert (found["host"], found["unix_sock"], found["ssl_context"]) == (None, "/run/pg/.s.PGSQL.5432", NO_TLS)
    monkeypatch.delenv("PGUSER")
    monkeypatch.setenv("LOGNAME", "the login")
    assert Target("postgresql://db/scratch").pg8000(PG8000, NO_TLS)["user"] == "the login"


@pytest.mark.parametrize("mode", ["disable", "allow"])
def test_pg8000_goes_without_tls_where_libpq_would_begin_without(mode: str) -> None:
    assert context(f"sslmode={mode}") is NO_TLS


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    """The file of a certificate authority."""
    path = tmp_path / "root.pem"
    path.write_text(AUTHORITY)
    return path


@pytest.mark.parametrize(
    ("mode", "root", "checked", "named"),
    [
        ("require", False, False, False),
        ("require", True, True, False),
        ("verify-ca", False, True, False),
        ("verify-ca", True, True, False),
        ("verify-full", False, True, True),
        ("verify-full", True, True, True),
    ],
)
def test_pg8000_checks_what_libpq_would_check(
    authority: Path, mode: str, *, root: bool, checked: bool, named: bool
) -> None:
    found = context(f"sslmode={mode}" + (f"&sslrootcert={authority}" if root else ""))
    assert (found.verify_mode is ssl.CERT_REQUIRED, found.check_hostname) == (checked, named)
    if root:
        assert [known["serialNumber"] for known in found.get_ca_certs()] == ["01"]


def test_pg8000_may_trust_the_systems_authorities_and_shows_our_certificate() -> None:
    assert context("sslmode=verify-full&sslrootcert=system").check_hostname
    with pytest.raises(FileNotFoundError):
        context("sslmode=require&sslcert=nowhere.pem")


def context(query: str) -> Any:
    return Target(f"postgresql://db/scratch?{query}").pg8000(PG8000, NO_TLS)["ssl_context"]


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ({"host": "db", "port": 1, "user": "app", "dbname": "prod"}, "app@db:1/prod"),
        ({"host": ["a", "b"], "database": "prod"}, "a,b/prod"),
        ({"hostaddr": "10.0.0.1"}, "10.0.0.1/"),
        ({"unix_sock": "/run/pg"}, "/run/pg/"),
        ({"service": "prod", "password": "s3cret"}, "/ service=prod"),
    ],
)
def test_what_a_connection_would_have_been(given: dict[str, Any], place: str) -> None:
    assert describe("psycopg", given) == f"psycopg {place}"


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        (None, ""),
        ("-c a=1 -cb=2 --c.d=3", "-c a=1 -c b=2 -c c.d=3"),
        ("endpoint=prod project=x -c a=1", "-c a=1"),
        (r"-c a=x\ y\\ -c b=2", r"-c a=x\ y\\ -c b=2"),
        ("x-c a=1 -e -B 5", ""),
    ],
)
def test_of_options_only_settings_are_kept(options: str | None, kept: str) -> None:
    assert session_settings(options) == kept
