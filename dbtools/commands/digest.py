"""The task that fingerprints the database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbtools import console
from dbtools.commands.common import find_dsn, find_project, handle_errors, option_help, task
from dbtools.errors import VerificationFailed

if TYPE_CHECKING:
    from invoke.context import Context


@task(
    auto_shortflags=False, help=option_help("json", "debug", expect="Fail (exit code 6) unless the digest is this one")
)
@handle_errors
def digest(_context: Context, expect: str = "", json: bool = False, debug: bool = False) -> None:
    """Print a fingerprint of content and structure.

    These are rows and hash of each table, and SHA-256 sums of content, structure and both. It covers all schemas that
    the last reset filled; before the first, the one of [tool.dbtools], else public. `structure` covers columns, types,
    defaults, constraints, indexes, views, routines, triggers, policies and the positions of sequences, in the words of
    the server's major version. --expect takes the sum of the content, or that of both.

        invoke digest
        invoke digest --expect 2f1c...
    """
    from dbtools.chain.mark import marked_schemas
    from dbtools.db.connect import open_session
    from dbtools.db.digest import LEFT_OUT, digest_all

    out = console.Console(quiet=json)
    project = find_project()
    with open_session(find_dsn(project, out), "digest") as connection:
        schemas = marked_schemas(connection, project.root.name) or [project.schema]
        found = digest_all(connection, schemas, lock_timeout=project.lock_timeout)
    rows = [(table.name, str(table.rows), table.md5) for table in found.tables]
    out.say(console.table(("table", "rows", "md5"), rows) if rows else "No tables.")
    out.say(f"content    sha256 {found.sha256}")
    out.say(f"structure  sha256 {found.structure}")
    out.say(f"both       sha256 {found.both}")
    out.say(f"left out: {', '.join(LEFT_OUT)}")
    if json:
        out.data(
            {
                "sha256": found.sha256,
                "structure": found.structure,
                "both": found.both,
                "left_out": LEFT_OUT,
                "tables": {table.name: {"rows": table.rows, "md5": table.md5} for table in found.tables},
            }
        )
    if expect and expect not in (found.sha256, found.both):
        raise VerificationFailed(
            "The content is not what was expected.",
            f"The sum of the content is {found.sha256}, that of both {found.both}; expected {expect}.",
            "Compare profile, seed and day (--as-of) of the two runs; then: invoke reset",
        )
