"""Template databases: a project's content on a server, made once and copied for each test, sandbox or run.

What a database is shows in its name, and in a comment in JSON:

- dbtools_template_KEY is a template. It gets this name last, so one that has it is complete. KEY is the hash of all
  that decides its content and of the role it belongs to.
- dbtools_test_OWNER_NUMBER belongs to the process whose session has OWNER in its application_name (`Owner`). The server
  ends the session when that process ends, however it ends, and shows its sessions in every database. So a database
  whose owner has no session was left, and `sweep` drops it, unless its comment says that it is kept for a look.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import secrets
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from dbtools.build.place import MAY_CREATE
from dbtools.db.connect import disable_timeouts, open_session
from dbtools.db.databases import LOCALE, copy_settings, create_database, drop_database, suppress_errors
from dbtools.db.sql import literal, quote, scalar
from dbtools.errors import UNCHANGED, ServerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import psycopg

    from dbtools.build.manifest import Manifest
    from dbtools.db.dsn import Dsn

TEMPLATE = "dbtools_template_"
OWNED = "dbtools_test_"
KEY_DIGITS = 24
OWNER = "databases "
"""What an owner's session says that it is for, before its number."""
TEMPLATE_LOCK = 0x44425431
"""The first key of an advisory lock; the second is the hash of a template's name."""
MAX_TEMPLATES = 8
"""How many templates of a project a sweep leaves on a server, those used last."""
MAX_UNUSED_DAYS = 7
MAX_KEPT = 5
"""How many databases of failed tests are left, of a project on a server."""

_FACTS = f"""
select current_user, pg_encoding_to_char(encoding), {LOCALE}
from pg_database d, to_jsonb(d) c where datname = current_database()
"""
_EXISTS = "select exists (select from pg_database where datname = %s)"
# Before the sessions are looked at: an owner has its session before it makes its first database.
_OURS = """
select datname, coalesce(shobj_description(oid, 'pg_database'), '') from pg_database
where datname ~ '^dbtools_(test_[0-9a-f]{8}_[0-9]+|template_[0-9a-f]{24})$' and pg_has_role(datdba, 'USAGE')
order by datname
"""
_OWNERS = "select split_part(application_name, ' ', 3) from pg_stat_activity where starts_with(application_name, %s)"
# With fsync off copying files is the quicker way, else logging blocks; before version 15 there was no other.
_COPIES_FILES = "select current_setting('server_version_num')::int >= 150000 and current_setting('fsync') = 'off'"
_NOW = "select extract(epoch from now())::bigint"
_UNTRUSTED = """
select name from unnest(%s::text[]) name where not exists (
    select from pg_available_extension_versions v where v.name = name.name and v.trusted)
"""


@dataclass(frozen=True)
class Content:
    """What a template is to hold."""

    key: str
    """Equal keys, equal content."""
    project: str
    """The project's name, under which its templates are counted."""
    manifest: Manifest
    """What it holds."""
    fill: Callable[[psycopg.Connection], None]
    """Put it into an empty database; the session is in autocommit."""


class Owner:
    """A session that owns databases on a server: others leave them alone for as long as it lives.

    Raises:
        DatabaseUnreachable: The server did not let us in.
        ServerError: The role may not create databases.
    """

    def __init__(self, dsn: Dsn) -> None:
        number = f"{secrets.randbits(32):08x}"
        self.session = open_session(dsn, f"{OWNER}{number}")
        self.dsn = dsn.pinned(self.session)
        if not scalar(self.session, MAY_CREATE):
            role = str(scalar(self.session, "select current_user"))
            self.session.close()
            raise ServerError(
                f"Role {role} may not create databases on {dsn.host}:{dsn.port}.",
                "Each test, and each sandbox, gets a database of its own.",
                f"As a superuser: alter role {quote(role)} createdb;",
                UNCHANGED,
            )
        disable_timeouts(self.session, local=False)
        self._beginning = f"{OWNED}{number}_"
        self._count = itertools.count(1)

    def new_name(self) -> str:
        """Return a name for another database of this owner."""
        return f"{self._beginning}{next(self._count)}"

    def drop_all(self) -> None:
        """Drop the databases of this owner, but for those that are kept."""
        for name, comment in self.session.execute(_OURS).fetchall():
            if name.startswith(self._beginning) and description(comment).get("kind") != "kept":
                drop_database(self.session, name)

    def close(self) -> None:
        """End the session: what it still owns is left for the next sweep."""
        self.session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def prepare(owner: Owner, content: Content, admin: Dsn | None = None) -> str:
    """Return the name of the template with this content; make it where there is none.

    Of several that ask simultaneously one makes it, and the others wait. `admin` is a superuser on the same server,
    who creates the extensions that the role may not.

    Raises:
        ChainFailed: The server did not take the content.
    """
    import psycopg

    session = owner.session
    facts = session.execute(_FACTS).fetchone()
    name = TEMPLATE + hashlib.sha256(repr((facts, content.key)).encode()).hexdigest()[:KEY_DIGITS]
    with _locked(session, int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], signed=True)):
        if not scalar(session, _EXISTS, (name,)):
            draft = owner.new_name()
            create_database(session, draft)
            try:
                _fill(owner.dsn.with_database(draft), content, admin)
                session.execute(f"alter database {quote(draft)} allow_connections false")
                session.execute(f"alter database {quote(draft)} rename to {quote(name)}")
            except psycopg.errors.DuplicateDatabase:
                drop_database(session, draft)  # by one whose lock is in another database of the server
            except BaseException:
                drop_database(session, draft)
                raise
        describe(session, name, {"kind": "template", "project": content.project, "used": scalar(session, _NOW)})
    return name


def copy(session: psycopg.Connection, template: str, name: str) -> None:
    """Make the database `name`, a copy of a template. `session` is on another database of the server, in autocommit.

    Raises:
        psycopg.errors.InvalidCatalogName: The template is gone.
    """
    how = " strategy file_copy" if scalar(session, _COPIES_FILES) else ""
    session.execute(f"create database {quote(name)} template {quote(template)}{how}")
    copy_settings(session, name)


def describe(session: psycopg.Connection, name: str, facts: dict[str, Any]) -> None:
    """Write down what a database is, as its comment."""
    session.execute(f"comment on database {quote(name)} is {literal(json.dumps({'dbtools': 1, **facts}))}")


def description(comment: str) -> dict[str, Any]:
    """Return what `describe` wrote, {} where a database has another comment or none."""
    try:
        facts = json.loads(comment)
    except ValueError:
        return {}
    return facts if isinstance(facts, dict) and "dbtools" in facts else {}


def keep(session: psycopg.Connection, name: str, project: str, test: str) -> None:
    """Keep a database of this owner for a look, also after its end, and drop the oldest ones that are too many."""
    describe(session, name, {"kind": "kept", "project": project, "test": test, "used": scalar(session, _NOW)})
    found = [(name, description(comment)) for name, comment in session.execute(_OURS).fetchall()]
    _drop_oldest(session, found, "kept", project, MAX_KEPT)


def sweep(session: psycopg.Connection, project: str) -> None:
    """Drop what ended processes have left, and templates of the project that were not used for long or are too many."""
    found = [(str(name), description(comment)) for name, comment in session.execute(_OURS).fetchall()]
    owners = {number for (number,) in session.execute(_OWNERS, (f"dbtools {OWNER}",))}
    now = int(scalar(session, _NOW))
    for name, facts in found:
        if name.startswith(OWNED):
            left = facts.get("kind") != "kept" and name.split("_")[2] not in owners
        else:
            left = facts.get("used", 0) < now - MAX_UNUSED_DAYS * 86400
        if left:
            with suppress_errors():  # another sweep is at it, or a prepared transaction is in it
                drop_database(session, name)
    _drop_oldest(session, found, "template", project, MAX_TEMPLATES)


def _drop_oldest(
    session: psycopg.Connection, found: list[tuple[str, dict[str, Any]]], kind: str, project: str, limit: int
) -> None:
    wanted = kind, project
    these = [(facts["used"], name) for name, facts in found if (facts.get("kind"), facts.get("project")) == wanted]
    for _, name in sorted(these, reverse=True)[limit:]:
        with suppress_errors():
            drop_database(session, name)


@contextmanager
def _locked(session: psycopg.Connection, number: int) -> Iterator[None]:
    session.execute("select pg_advisory_lock(%s, %s)", (TEMPLATE_LOCK, number))
    try:
        yield
    finally:
        session.execute("select pg_advisory_unlock(%s, %s)", (TEMPLATE_LOCK, number))


def _fill(dsn: Dsn, content: Content, admin: Dsn | None) -> None:
    extensions = content.manifest.extensions
    if admin is not None and extensions:
        with open_session(admin.with_database(dsn.dbname), "databases") as session:
            names = [extension.name for extension in extensions]
            untrusted = {name for (name,) in session.execute(_UNTRUSTED, (names,))}
            for extension in extensions:
                if extension.name in untrusted:
                    session.execute(
                        f"create schema if not exists {quote(extension.schema)} authorization {quote(dsn.user)};"
                        f" create extension if not exists {quote(extension.name)} with schema {quote(extension.schema)}"
                    )
    with open_session(dsn, "databases") as session:
        content.fill(session)
