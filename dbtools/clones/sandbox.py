"""Sandboxes: databases with the project's content that a person asked for by name, until somebody drops them.

A sandbox is an ordinary database, `sandbox_PROJECT_NAME`, whose comment says that it is one, and of which project. What
has no such comment is never dropped.
"""

from __future__ import annotations

import datetime as dt
import re
from typing import TYPE_CHECKING, NamedTuple

from dbtools.build import template as templates
from dbtools.chain.mark import write_mark
from dbtools.clones.wanted import make_template
from dbtools.db.connect import open_session
from dbtools.db.databases import drop_database
from dbtools.db.dsn import printable
from dbtools.db.sql import quote
from dbtools.db.url import MAX_NAME_BYTES
from dbtools.errors import UNCHANGED, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg

    from dbtools.build.template import Owner
    from dbtools.clones.wanted import Wanted
    from dbtools.config import Project
    from dbtools.db.dsn import Dsn

PREFIX = "sandbox"

_ALL = """
select datname, coalesce(shobj_description(oid, 'pg_database'), ''), pg_database_size(oid)::bigint,
       (select count(*) from pg_stat_activity a where a.datid = d.oid)
from pg_database d where pg_has_role(datdba, 'USAGE') and datallowconn order by datname
"""
_COMMENT = "select coalesce(shobj_description(oid, 'pg_database'), '') from pg_database where datname = %s"


class Sandbox(NamedTuple):
    """A sandbox of a project on a server."""

    name: str
    database: str
    made_at: str
    key: str
    """That of the snapshot it was made from."""
    bytes: int
    sessions: int


def database_name(project: str, name: str) -> str:
    """Return the name of the database of a sandbox.

    Raises:
        ConfigurationError: The name has other characters than it may have, or is too long.
    """
    if not re.fullmatch(r"[A-Za-z0-9_.][A-Za-z0-9_.-]*", name, re.ASCII):
        raise ConfigurationError(
            f"A sandbox cannot be called {name!r}.",
            "Its name may have the letters a to z and A to Z, digits, '_', '.' and, after one of these, '-'.",
            f"For example: invoke sandbox {_plain(name) or 'mine'}",
            UNCHANGED,
        )
    found = f"{PREFIX}_{_plain(project)}_{name}"
    if len(found) > MAX_NAME_BYTES:
        rest = MAX_NAME_BYTES - len(found) + len(name)
        raise ConfigurationError(
            f"The sandbox's name {name} is too long.",
            f"Its database would be called {found}, and a name may have {MAX_NAME_BYTES} characters.",
            f"Choose a name of at most {rest} characters." if rest > 0 else "Give the project's folder a shorter name.",
            UNCHANGED,
        )
    return found


def branch_name(branch: str) -> str:
    """Return the sandbox's name for a Git branch: its own, other characters than a sandbox may have replaced by _."""
    return _plain(branch)


def create(
    owner: Owner, project: Project, name: str, wanted: Wanted, note: Callable[[str], None], admin: Dsn | None
) -> str:
    """Make a sandbox and return the name of its database, which it gets when it is complete.

    Where another process has made it meanwhile, that one is returned.

    Raises:
        ConfigurationError: The name is none, or a database that is no sandbox has it.
        StepFailed, ChainFailed: The content could not be made.
    """
    import psycopg

    database = database_name(project.root.name, name)
    templates.sweep(owner.session, project.root.name)
    template = make_template(owner, project, wanted, note, admin)
    draft = owner.new_name()
    templates.copy(owner.session, template.name, draft)
    try:
        with open_session(owner.dsn.with_database(draft), "sandbox") as session:
            write_mark(session, template.manifest.schemas, template.manifest)
        made = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
        facts = {"kind": "sandbox", "project": project.root.name, "name": name, "made": made}
        templates.describe(owner.session, draft, facts | {"key": template.manifest.key})
        owner.session.execute(f"alter database {quote(draft)} rename to {quote(database)}")
    except psycopg.errors.DuplicateDatabase:
        drop_database(owner.session, draft)
        return find(owner.session, project.root.name, name) or database
    except BaseException:
        drop_database(owner.session, draft)
        raise
    return database


def find(session: psycopg.Connection, project: str, name: str) -> str | None:
    """Return the database of a sandbox, None where there is none.

    Raises:
        ConfigurationError: There is a database of this name that is no sandbox of the project.
    """
    database = database_name(project, name)
    row = session.execute(_COMMENT, (database,)).fetchone()
    if row is None:
        return None
    facts = templates.description(row[0])
    if facts.get("kind") != "sandbox" or facts.get("project") != project:
        raise ConfigurationError(
            f"Database {database} is no sandbox of {printable(project)}.",
            f"Its comment is {row[0]!r}." if row[0] else "It has no comment, and that of a sandbox says what it is.",
            "It was left alone. Choose another name.",
            UNCHANGED,
        )
    return database


def list_all(session: psycopg.Connection, project: str) -> list[Sandbox]:
    """Return the sandboxes of a project."""
    found = []
    for database, comment, size, sessions in session.execute(_ALL).fetchall():
        facts = templates.description(comment)
        if facts.get("kind") == "sandbox" and facts.get("project") == project:
            found.append(Sandbox(facts["name"], database, facts["made"], facts["key"], size, sessions))
    return found


def drop(session: psycopg.Connection, project: str, name: str) -> bool:
    """Drop a sandbox and end its sessions; return whether there was one.

    Raises:
        ConfigurationError: The database of this name is no sandbox of the project.
    """
    database = find(session, project, name)
    if database is None:
        return False
    drop_database(session, database)
    return True


def is_kept(session: psycopg.Connection, database: str) -> bool:
    """Return whether a database is one that a failed test has left."""
    comment = session.execute(_COMMENT, (database,)).fetchone()
    return comment is not None and templates.description(comment[0]).get("kind") == "kept"


def _plain(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "_", text, flags=re.ASCII).strip("_").lower()
