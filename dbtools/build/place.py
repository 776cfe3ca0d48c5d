"""Where a scratch database can be made: on the target's server, or on a throwaway one."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dbtools.db.sql import quote, scalar
from dbtools.errors import UNCHANGED, ServerError

if TYPE_CHECKING:
    from collections.abc import Collection

    import psycopg

    from dbtools.server.binaries import Binaries
    from dbtools.server.container import ContainerServer
    from dbtools.server.embedded import EmbeddedServer
    from dbtools.server.requirements import Requirements

MAY_CREATE = "select rolcreatedb or rolsuper from pg_roles where rolname = current_user"
# The extensions that an administrator made in the target, and whether the content may need one that only an
# administrator can make: its types, not the views and functions of a monitor.
_GIVEN = """
select e.extname, e.extversion, n.nspname, not coalesce(v.trusted, false) and exists (
    select from pg_depend d where (d.classid, d.refclassid, d.refobjid, d.deptype)
        = ('pg_type'::regclass, 'pg_extension'::regclass, e.oid, 'e'))
from pg_extension e join pg_namespace n on n.oid = e.extnamespace
left join pg_available_extension_versions v on (v.name, v.version) = (e.extname, e.extversion)
where e.extname <> 'plpgsql' and (%(all)s or not pg_has_role(e.extowner, 'USAGE')) order by e.oid
"""
_EXTENSIONS = "select extname from pg_extension where extname <> 'plpgsql' order by oid"


@dataclass(frozen=True)
class Place:
    """On the target's server, unless something is `forbidden` there."""

    role: str
    major: int
    forbidden: str
    """What the role would have to do on the target's server, and may not; "" where it may do all."""
    given: tuple[tuple[str, str, str, bool], ...] = ()
    """Extensions that it gets: name, version, schema, and whether only a superuser can make it."""
    there: tuple[str, ...] = ()
    """All extensions of the target."""

    def require(self, requirements: Requirements) -> Requirements:
        """Return what a throwaway server must have: the target's extensions too, where programs here have them."""
        from dbtools.server.sources import NoBinaries, find_binaries

        required = replace(requirements, major=self.major, programs=None)
        wished = replace(required, extensions=tuple(dict.fromkeys((*required.extensions, *self.there))))
        with suppress(NoBinaries):
            find_binaries(wished)
            return wished
        return required

    def find_binaries(self, requirements: Requirements) -> Binaries:
        """Return the programs on this machine that a throwaway server would be started from.

        Raises:
            ServerError: There are none.
        """
        from dbtools.server.sources import find_binaries

        return find_binaries(self.require(requirements))

    def start(self, requirements: Requirements) -> EmbeddedServer | ContainerServer:
        """Return a throwaway server.

        Raises:
            ServerError: None could be started.
        """
        from dbtools.server.throwaway import start_throwaway

        try:
            return start_throwaway(self.require(requirements), bare=True)
        except ServerError as error:
            raise self.refuse(error) from error

    def refuse(self, error: ServerError) -> ServerError:
        """Return the error for a role that needs a throwaway server, where `error` says why there is none."""
        may = "createdb" if "database on" in self.forbidden else "superuser"
        return ServerError(
            f"Role {self.role} may not {self.forbidden}, and no throwaway server could be started.",
            f"{error.what} {error.why}",
            f"As a superuser: alter role {quote(self.role)} {may};"
            f" or, for a throwaway server: {error.hint[:1].lower()}{error.hint[1:]}",
            UNCHANGED,
        )


def find_place(
    session: psycopg.Connection, *, extensions: bool = False, without: Collection[str] = (), keep: bool = False
) -> Place:
    """Return where a scratch database for the target of `session` would be made, and with which extensions.

    Those are what another role made in the target; with `extensions`, what this role made too; but none in `without`.
    One that is kept is on the target's server, whatever it lacks there.
    """
    found = session.execute(_GIVEN, {"all": extensions}).fetchall()
    forbidden = "" if scalar(session, MAY_CREATE) else "create a database on this server"
    beyond = [name for name, _, _, needs_superuser in found if needs_superuser]
    if beyond and not keep:
        forbidden = forbidden or f"create extension {beyond[0]} in a database of its own"
    return Place(
        role=str(scalar(session, "select current_user")),
        major=int(session.info.server_version) // 10000,
        forbidden=forbidden,
        given=tuple(row for row in found if row[0] not in without),
        there=list_extensions(session),
    )


def list_extensions(session: psycopg.Connection) -> tuple[str, ...]:
    """Return the extensions of a database, in the order in which they were made."""
    return tuple(str(name) for (name,) in session.execute(_EXTENSIONS))
