"""What every session of dbtools is, whatever URL, role and database say; and which versions are served."""

from __future__ import annotations

from fractions import Fraction
from urllib.parse import quote

import psycopg
import pytest

from dbtools.db import connect as connect_module
from dbtools.db.connect import disable_timeouts, open_session
from dbtools.db.dsn import Dsn
from dbtools.errors import ConfigurationError

SETTINGS = """
select current_setting('search_path'), current_setting('statement_timeout'), current_setting('jit'),
       current_setting('application_name'), current_setting('client_encoding')
"""
TIMEOUTS = """
select name, setting from pg_settings where name ~ '^(statement|transaction|idle_.*session|tcp_user)_timeout$'
   or name ~ '^tcp_keepalives' or name = 'client_connection_check_interval'
"""


def test_what_the_url_says_of_a_session_is_heeded_but_for_what_is_ours(pg_database: str) -> None:
    options = quote("-c search_path=own -c statement_timeout=5 -c jit=off", safe="")
    dsn = Dsn.parse(
        f"{pg_database}?options={options}&application_name=theirs&client_encoding=LATIN1&tcp_user_timeout=1"
    )
    with open_session(dsn, "test", autocommit=False) as session:
        assert session.execute(SETTINGS).fetchone() == ("pg_catalog", "0", "off", "dbtools test", "UTF8")
        given = session.info.get_parameters()
        wanted = {"keepalives_idle": "5", "keepalives_interval": "3", "keepalives_count": "3", "connect_timeout": "10"}
        assert given.items() >= {**wanted, "tcp_user_timeout": "14000"}.items()
        assert (session.prepare_threshold, session.autocommit) == (None, False)


def test_a_list_of_addresses_shares_the_time(pg_database: str) -> None:
    dsn = Dsn.parse(pg_database)
    place = f"hostaddr={','.join([dsn.host] * 9)}&port={dsn.port}"
    with open_session(Dsn.parse(f"postgresql://{dsn.user}:{dsn.password}@/{dsn.dbname}?{place}"), "test") as session:
        assert session.info.get_parameters()["connect_timeout"] == "2"  # libpq takes 0 for no limit


def test_timeouts_of_the_role_are_put_aside_for_a_session_or_a_transaction(pg_database: str) -> None:
    with open_session(Dsn.parse(pg_database), "test") as session:
        there: dict[str, str] = dict(session.execute(TIMEOUTS).fetchall())
        wanted = dict.fromkeys(there, "0") | {
            "tcp_keepalives_idle": "4", "tcp_keepalives_interval": "2", "tcp_keepalives_count": "3",
            "tcp_user_timeout": "10000", "client_connection_check_interval": "3000",
        }  # fmt: skip
        for name in there:
            session.execute(f"set {name} = {900_000 if name.endswith('timeout') else 9}".encode())
        theirs: dict[str, str] = dict(session.execute(TIMEOUTS).fetchall())
        with session.transaction():
            disable_timeouts(session, local=True)
            assert dict(session.execute(TIMEOUTS).fetchall()) == wanted
        assert dict(session.execute(TIMEOUTS).fetchall()) == theirs
        disable_timeouts(session, local=False)
        assert dict(session.execute(TIMEOUTS).fetchall()) == wanted
        assert len(wanted) >= 8


def test_the_oldest_version_is_served_and_the_session_of_an_older_one_closed(
    pg_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    dsn = Dsn.parse(pg_database)
    with open_session(dsn, "test") as session:
        monkeypatch.setattr(connect_module, "OLDEST_MAJOR", Fraction(session.info.server_version, 10000))
        open_session(dsn, "test").close()
        monkeypatch.setattr(connect_module, "OLDEST_MAJOR", 99)
        opened: list[psycopg.Connection] = []
        original = connect_module.connect

        def connect(dsn: Dsn, purpose: str, *, autocommit: bool, timeout: float) -> psycopg.Connection:
            opened.append(original(dsn, purpose, autocommit=autocommit, timeout=timeout))
            return opened[-1]

        monkeypatch.setattr(connect_module, "connect", connect)
        with pytest.raises(ConfigurationError, match="is too old"):
            open_session(dsn, "test")
        assert [other.closed for other in opened] == [True]
