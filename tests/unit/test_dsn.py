"""Connection strings: what is accepted, what is refused and in which words, and that no password gets out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbtools.dsn import Dsn, mask
from dbtools.errors import ConfigurationError

HINT = "Write it like this: DATABASE_URL=postgresql://USER:PASSWORD@HOST:5432/DATABASE"


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_three_schemes_name_the_same_database(scheme: str) -> None:
    dsn = Dsn.parse(f"{scheme}://ann:s3cret@db.example.com:6000/app?sslmode=disable")
    assert dsn.url == "postgresql://ann:s3cret@db.example.com:6000/app?sslmode=disable"
    assert dsn.sqlalchemy_url == "postgresql+psycopg://ann:s3cret@db.example.com:6000/app?sslmode=disable"
    assert (dsn.host, dsn.port, dsn.dbname, dsn.user) == ("db.example.com", "6000", "app", "ann")


def test_what_is_left_out_is_left_to_libpq() -> None:
    dsn = Dsn.parse("postgresql:///app?host=/run/postgresql")
    assert (dsn.host, dsn.port, dsn.user, dsn.password) == ("/run/postgresql", "5432", "", "")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (
            "mysql://u:hunter2@h/d",
            "It starts with 'mysql://'; wanted postgresql://, postgres://, postgresql+psycopg://",
        ),
        ("host=h password=hunter2", "It is not a URL; wanted postgresql://, postgres://, postgresql+psycopg://"),
        ("postgresql://u:hunter2@h:abc/d", "The port 'abc' is not a number from 1 to 65535"),
        ("postgresql://u:hunter2@h:70000/d", "The port '70000' is not a number from 1 to 65535"),
        ("postgresql://u:hunter2@h", "It names no database"),
        ("postgresql://u:hunter2%zz@h/d", "Invalid percent-encoded token"),
        ("postgresql://u:hun@ter2@h/d", "The password holds an @ that is not written as %40"),
        ("postgresql://u:hunter2@h/d?speed=9", "Invalid URI query parameter"),
        (
            "postgresql://u:hunter2@[::1/d",
            'End of string reached when looking for matching "]" in IPv6 host address in URI',
        ),
    ],
)
def test_a_malformed_url_is_refused_without_its_password(text: str, why: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Dsn.parse(text)
    assert str(caught.value) == f"DATABASE_URL is not a usable PostgreSQL URL.\n{why}. Nothing was changed.\n{HINT}"
    assert "hunter2" not in str(caught.value)


def test_the_source_is_named() -> None:
    with pytest.raises(ConfigurationError, match="^--server is not a usable PostgreSQL URL"):
        Dsn.parse("nonsense", source="--server")


def test_repr_and_str_hide_the_password() -> None:
    dsn = Dsn.parse("postgresql://ann:s3cret@h/app?password=s3cret")
    assert str(dsn) == dsn.masked == "postgresql://ann:***@h/app?password=***"
    assert "s3cret" not in repr(dsn)


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=4, max_size=20))
def test_no_password_survives_masking(password: str) -> None:
    from urllib.parse import quote

    text = f"failed: postgresql://ann:{quote(password, safe='')}@h/app"
    assert mask(text, password) == "failed: postgresql://ann:***@h/app"


def test_key_value_passwords_are_masked() -> None:
    assert mask("host=h password=s3cret user=u") == "host=h password=*** user=u"
    assert mask("password='with space' user=u") == "password=*** user=u"
