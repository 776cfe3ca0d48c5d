"""What the content of a snapshot needs around it: extensions that it can have, and roles that are there."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from dbtools.build.snapshot import PARTS
from dbtools.checks.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

    from dbtools.build.manifest import Extension
    from dbtools.build.snapshot import Snapshot

_EXTENSIONS = """
select w.name, n.nspname, a.default_version is not null,
       (select rolsuper from pg_roles where rolname = current_user)
       or coalesce(v.trusted and has_database_privilege(current_database(), 'CREATE') or not v.superuser, false)
from unnest(%s::text[]) w(name)
left join pg_extension e on e.extname = w.name left join pg_namespace n on n.oid = e.extnamespace
left join pg_available_extensions a on a.name = w.name
left join pg_available_extension_versions v on (v.name, v.version) = (w.name, a.default_version)
"""
_INSTALLED = """
select format('%s %s', extname, extversion) from pg_extension where extname <> 'plpgsql' order by 1
"""
# Whether a role is there, and whether this one may give it something.
_ROLES = """
select w.name, r.oid is not null, coalesce(pg_has_role(r.oid, 'MEMBER'), false)
from unnest(%s::text[]) w(name) left join pg_roles r on r.rolname = w.name order by 1
"""
_NAME = r'("(?:[^"]|"")+"|\w+)'
_HEADER = re.compile(r"-- Name: .*; Type: (\w[\w ]*);")
_GRANTED = re.compile(
    rf"(?:GRANT|REVOKE|ALTER DEFAULT PRIVILEGES) .* (?:TO|FROM) {_NAME}(?: WITH GRANT OPTION)?;$", re.MULTILINE
)
_OWNER = re.compile(rf"^alter .* owner to {_NAME};$", re.MULTILINE)


def examine_surroundings(connection: psycopg.Connection, snapshot: Snapshot | None) -> Iterator[Finding]:
    """Yield what a snapshot needs and the target cannot give. Without a snapshot, what the target has."""
    if snapshot is None:
        here = [str(name) for (name,) in connection.execute(_INSTALLED)]
        yield Finding("extensions", None, f"the database has {', '.join(here) or 'none'}")
        return
    wanted = snapshot.manifest.extensions
    problems = [*_extensions(connection, wanted)]
    shown = ", ".join(f"{extension.name} {extension.version}" for extension in wanted)
    yield from problems or [Finding("extensions", True, f"all there or to be had: {shown}" if shown else "none needed")]
    yield from _roles(connection, snapshot)


def _extensions(connection: psycopg.Connection, wanted: tuple[Extension, ...]) -> Iterator[Finding]:
    rows = connection.execute(_EXTENSIONS, ([extension.name for extension in wanted],)).fetchall()
    answers = {name: rest for name, *rest in rows}
    for extension in wanted:
        name = extension.name
        place, available, may_create = answers[name]
        refused = f"The extension {name} could not be created here."
        if place is not None and place != extension.schema:
            yield Finding(
                "extensions",
                False,
                f"The extension {name} is in schema {place}, but the steps made it in {extension.schema}.",
                "The content refers to it there.",
                f"Have the steps create it in {place}, or: alter extension {name} set schema {extension.schema};",
            )
        elif place is None and not available:
            yield Finding("extensions", False, refused, "The server does not offer it.", _install(name))
        elif place is None and not may_create:
            yield Finding(
                "extensions",
                False,
                refused,
                "Only a superuser may create it.",
                f"As a superuser of this database: create extension {name};",
            )


def _install(name: str) -> str:
    return f"Install it on the server's machine (Debian: postgresql-contrib, or a package with {name} in its name)."


def _roles(connection: psycopg.Connection, snapshot: Snapshot) -> Iterator[Finding]:
    granted, owners = _named_roles(snapshot)
    if not granted | owners:
        return
    rows = connection.execute(_ROLES, (sorted(granted | owners),)).fetchall()
    for name, is_there, is_member in rows:
        if not is_there:
            yield Finding(
                "roles",
                False,
                f'role "{name}" does not exist on this server.',
                "The content names it in a grant, or as an owner.",
                f'create role "{name}";',
            )
        elif name in owners and not is_member:
            yield Finding(
                "roles",
                False,
                f'This role may not give anything to role "{name}".',
                "The steps made it the owner of something.",
                f'As a superuser: grant "{name}" to the role that resets.',
            )


def _named_roles(snapshot: Snapshot) -> tuple[set[str], set[str]]:
    """Return the roles that grants name, and those that become owners."""
    granted: set[str] = set()
    owners: set[str] = set()
    for name in PARTS:
        text = (snapshot.folder / name).read_text("utf-8")
        for header in _HEADER.finditer(text):
            if header[1] in ("ACL", "DEFAULT ACL"):
                following = _HEADER.search(text, header.end())
                block = text[header.end() : following.start() if following else len(text)]
                granted |= {_plain(found) for found in _GRANTED.findall(block)}
        owners |= {_plain(found) for found in _OWNER.findall(text)} if name == PARTS[-1] else set()
    for text in snapshot.manifest.grants.values():
        granted |= {_plain(found) for found in _GRANTED.findall(text)}
    return granted - {"PUBLIC"}, owners


def _plain(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name
