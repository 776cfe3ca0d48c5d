"""The schema that a run works in: may this role build there, and what do unqualified names mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbtools.db.sql import quote
from dbtools.errors import ChainFailed

if TYPE_CHECKING:
    import psycopg


def search_path(schema: str) -> str:
    """Return the search_path of work in `schema`: extensions may be in public."""
    return quote(schema) if schema == "public" else f"{quote(schema)}, public"


def check_rights(work: psycopg.Connection, schema: str) -> None:
    """Refuse to drop what this role could not build again.

    Raises:
        ChainFailed: The schema does not exist, or this role may not create in it.
    """
    row = work.execute(
        "select has_schema_privilege(oid, 'CREATE') and has_schema_privilege(oid, 'USAGE'), current_user"
        " from pg_namespace where nspname = %s",
        (schema,),
    ).fetchone()
    if row is None:
        raise ChainFailed(
            f"The schema {schema} does not exist.",
            "There is nothing to reset.",
            f"Create it: create schema {quote(schema)}; or set [tool.dbtools] schema.",
        )
    if not row[0]:
        role = str(row[1])  # the role that the URL's options chose, where they do
        raise ChainFailed(
            f"Role {role} may not create anything in schema {schema}.",
            "It would drop what it cannot build again.",
            f"As its owner: grant create, usage on schema {quote(schema)} to {quote(role)}; or connect as the owner.",
        )
