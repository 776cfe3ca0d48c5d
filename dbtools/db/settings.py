"""The settings on which text depends.

With them fixed, the same text is read as the same value, and the same value is written as the same text, whatever the
server, the database, the role, PGTZ or the URL say. The values are those of a new PostgreSQL: a time without an offset
is in UTC, 01/02/2003 is in January.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psycopg

TEXT_SETTINGS = {
    "timezone": "UTC",
    "datestyle": "ISO, MDY",
    "intervalstyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "lc_monetary": "C",
    "standard_conforming_strings": "on",
    "array_nulls": "on",
    "xmloption": "content",
    "quote_all_identifiers": "off",
}
_CALLS = (f"pg_catalog.set_config('{name}', '{value}', %(local)s)" for name, value in TEXT_SETTINGS.items())
_FIX = f"select {', '.join(_CALLS)}"


def fix_text_settings(connection: psycopg.Connection, *, local: bool) -> None:
    """Fix the settings on which text depends; with `local`, for the open transaction only."""
    connection.execute(_FIX, {"local": local})
