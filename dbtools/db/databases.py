"""Make a database like the one that a session is on, and drop one that sessions may still be in."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from dbtools.db.sql import quote, scalar

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

DROP_TRIES = 5
"""How often it is tried to drop a database. Each time the server waits 5 s for the end of the sessions it has ended."""
LOCALE = """
concat_ws(' ', datcollate, datctype, nullif(c ->> 'datlocprovider', 'c'),
          coalesce(c ->> 'datlocale', c ->> 'daticulocale'), c ->> 'daticurules')
"""
"""All that decides how a database sorts, of `pg_database d, to_jsonb(d) c`: which columns there are besides the first
two depends on the version. libc alone sorts before PostgreSQL 15, and the locale of ICU has another name from 17 on."""
# template0 has nothing in it and nobody connected to it; a throwaway server has none.
_CREATE = """
select format('create database %%I template %%s encoding %%L lc_collate %%L lc_ctype %%L', %(name)s::text,
              case when exists (select from pg_database where datname = 'template0') then 'template0'
                   else 'template1' end, pg_encoding_to_char(encoding), datcollate, datctype)
       || case c ->> 'datlocprovider'
          when 'c' then ' locale_provider libc'
          when 'i' then format(' locale_provider icu icu_locale %%L', coalesce(c ->> 'datlocale', c ->> 'daticulocale'))
          when 'b' then format(' locale_provider builtin builtin_locale %%L', c ->> 'datlocale')
          else '' end
       || case when c ->> 'daticurules' <> '' then format(' icu_rules %%L', c ->> 'daticurules') else '' end
from pg_database d, to_jsonb(d) c where datname = current_database()
"""
# Lists of names are stored with the quotes of each, everything else as one text.
_SETTINGS = """
select format('alter database %%I set %%s to %%s', %(name)s::text, quote_ident(split_part(s, '=', 1)),
              case when split_part(s, '=', 1)
                        in ('search_path', 'temp_tablespaces', 'local_preload_libraries', 'session_preload_libraries')
                   then substr(s, strpos(s, '=') + 1) else quote_literal(substr(s, strpos(s, '=') + 1)) end)
from pg_db_role_setting d, unnest(d.setconfig) s
where d.setdatabase = (select oid from pg_database where datname = current_database()) and d.setrole = 0
"""


def create_database(session: psycopg.Connection, name: str) -> None:
    """Create an empty database with the encoding and locale of the one that `session` is on."""
    session.execute(str(scalar(session, _CREATE, {"name": name})))


def copy_settings(session: psycopg.Connection, name: str) -> None:
    """Give a database the settings of the one that `session` is on."""
    for (statement,) in session.execute(_SETTINGS, {"name": name}).fetchall():
        with suppress_errors():  # one that this role may not set
            session.execute(statement)


def drop_database(session: psycopg.Connection, name: str) -> None:
    """Drop a database and end its sessions; where it is gone, do nothing. `session` is on another one, in autocommit.

    Raises:
        psycopg.errors.ObjectInUse: A session in it does not end, or a prepared transaction is in it.
        psycopg.errors.InsufficientPrivilege: The role may not drop it.
    """
    from psycopg.errors import InsufficientPrivilege, ObjectInUse

    force = " with (force)"
    for left in reversed(range(DROP_TRIES)):
        try:
            session.execute(f"drop database if exists {quote(name)}{force}")
            return
        except ObjectInUse:  # on a busy machine, a session that was ended may still be there
            if not left:
                raise
        except InsufficientPrivilege:
            if not left:
                raise
            force = ""  # a session of another role's, such as the login's, is about to end: that is waited for


@contextmanager
def suppress_errors() -> Iterator[None]:
    """Go on after an error of the server: the statement is not needed for the result."""
    import psycopg

    with suppress(psycopg.Error):
        yield
