"""Where would the steps run, and with which of PostgreSQL's programs?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbtools.build.place import find_place
from dbtools.build.programs import find_program
from dbtools.checks.findings import Finding
from dbtools.errors import ServerError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

    from dbtools.build.builder import Builder
    from dbtools.build.place import Place
    from dbtools.build.programs import Program
    from dbtools.server.requirements import Requirements


def examine_place(connection: psycopg.Connection, builder: Builder, *, needed: bool) -> Iterator[Finding]:
    """Yield where a scratch database would be made, and whether there are programs; `needed`: a reset has to build."""
    place = find_place(connection)
    yield _scratch(place, builder.project.server, needed=needed)
    wanted: list[Program] = ["pg_dump", "pg_restore"]
    if any(step.kind == "sql" for level in builder.levels for step in level.steps):
        wanted.append("psql")
    found = set()
    missing = []
    for name in wanted:
        try:
            found.add(str(find_program(name, place.major).parent))
        except ServerError as error:
            missing.append(Finding.of("programs", error, stops=needed))
    yield from missing or [Finding("programs", True, f"{', '.join(wanted)} in {', '.join(sorted(found))}")]


def _scratch(place: Place, requirements: Requirements, *, needed: bool) -> Finding:
    from dbtools.server import engine, run_as

    name = "scratch database"
    if not place.forbidden:
        return Finding(name, True, f"on the same server, made by role {place.role}")
    reason = f"role {place.role} may not {place.forbidden}"
    try:
        run_as.choose()
        binaries = place.find_binaries(requirements)
    except ServerError as error:
        image = engine.image(place.major)
        if engine.why_not(image):
            return Finding.of(name, place.refuse(error), stops=needed)
        return Finding(name, True, f"on a throwaway server in a container of {image}: {reason}")
    lacking = [given for given, *_ in place.given if given not in binaries.extensions]
    why = f"It has no {', '.join(lacking)}, which the database has: a step that needs it would fail." if lacking else ""
    return Finding(name, True, f"on a throwaway server of PostgreSQL {place.major}: {reason}", why)
