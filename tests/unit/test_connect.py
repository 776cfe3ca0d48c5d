"""Which failed connections time can heal, and that every diagnosis hides the password."""

import psycopg
import pytest

from dbtools.db.connect import diagnose, lost, unreachable
from dbtools.db.dsn import Dsn

PREFIX = 'connection failed: connection to server at "127.0.0.1", port 5432 failed: '


@pytest.mark.parametrize(
    ("words", "transient"),
    [
        ("Connection refused\n\tIs the server running on that host and accepting TCP/IP connections?", True),
        ("FATAL:  the database system is starting up", True),
        ("FATAL:  the database system is shutting down", True),
        ("FATAL:  the database system is not yet accepting connections", True),
        ("FATAL:  sorry, too many clients already", True),
        ('FATAL:  too many connections for database "app"', True),
        ('FATAL:  too many connections for role "app"', True),
        ("server closed the connection unexpectedly", True),
        ("timeout expired", True),
        ('FATAL:  password authentication failed for user "app"', False),
        ('FATAL:  database "app" does not exist', False),
        ('FATAL:  role "app" does not exist', False),
        ('FATAL:  no pg_hba.conf entry for host "127.0.0.1", user "app", database "app", no encryption', False),
        ("fe_sendauth: no password supplied", False),
        ("received invalid response to SSL negotiation: H", False),
        ("expected authentication request from server, but received S", False),
        ('FATAL:  permission denied for database "app"', False),
        ("FATAL:  something this program has never heard of", False),
    ],
)
def test_only_what_time_can_heal_is_healable(words: str, transient: bool) -> None:
    assert diagnose(psycopg.OperationalError(PREFIX + words)).transient is transient


def test_a_full_server_and_a_mute_one_are_not_to_be_started() -> None:
    full = diagnose(psycopg.OperationalError(PREFIX + "FATAL:  sorry, too many clients already"))
    assert full.hint.startswith("No connection is free: end sessions that are not needed, or wait for it: ")
    mute = diagnose(psycopg.OperationalError("the server let us in, and gave no answer in 5.0 s"))
    assert (mute.transient, mute.hint.partition(" and")[0]) == (True, "Something accepts connections there")


def test_a_name_that_does_not_resolve_may_come_yet() -> None:
    never = psycopg.OperationalError("failed to resolve host 'nosuch': [Errno -2] Name or service not known")
    later = psycopg.OperationalError("failed to resolve host 'db': [Errno -3] Temporary failure in name resolution")
    assert diagnose(never).transient
    assert diagnose(later).transient


def test_the_servers_words_are_kept_and_the_password_is_not() -> None:
    error = psycopg.OperationalError(PREFIX + 'FATAL:  password authentication failed for user "app" (hunter2)')
    assert diagnose(error, "hunter2").reason == 'password authentication failed for user "app" (***)'


def test_the_message_in_full() -> None:
    dsn = Dsn.parse("postgresql://app:hunter2@db:5432/shop")
    error = unreachable(dsn, diagnose(psycopg.OperationalError(PREFIX + 'FATAL:  database "shop" does not exist')))
    assert str(error) == (
        "Cannot reach database shop on db:5432 as app.\n"
        'database "shop" does not exist. Nothing was changed.\n'
        "Create the database: createdb -h db -p 5432 -U app shop; or correct its name in DATABASE_URL."
    )
    assert error.exit_code == 3


def test_a_user_that_the_url_does_not_name_is_left_out() -> None:
    error = unreachable(
        Dsn.parse("postgresql://h/my%20shop"), diagnose(psycopg.OperationalError('database "x" does not exist'))
    )
    assert error.what == "Cannot reach database my shop on h:5432."
    assert error.hint == ("Create the database: createdb -h h -p 5432 'my shop'; or correct its name in DATABASE_URL.")


def test_a_connection_that_broke_is_told_from_other_errors() -> None:
    found = lost(psycopg.OperationalError("server closed the connection\n\tunexpectedly."))
    assert str(found) == (
        "The connection to the database broke.\n"
        "server closed the connection unexpectedly. What was not committed is rolled back by the server.\n"
        "Once the server is back, run this again."
    )
    assert lost(psycopg.errors.AdminShutdown("terminating connection")) is not None
    for error in (psycopg.errors.OutOfMemory("out of shared memory"), psycopg.errors.UndefinedTable("x"), OSError("x")):
        assert lost(error) is None
