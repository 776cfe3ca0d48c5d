"""What a step did to its scratch database: enough to tell success from nothing."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Self

from dbtools.build.hints import NO_REVISION
from dbtools.db.revisions import current_revisions
from dbtools.db.sql import scalar
from dbtools.errors import UNCHANGED, StepFailed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from dbtools.build.scratch import Scratch

LINGERING_S = 5.0
"""How long a session of a step may outlive its process."""
IDLE_S = 0.5
"""How long one may be idle meanwhile before it is taken for one that a pooler keeps, and ended."""

# Every change of a catalog row shows in its xmin; rows that were added or deleted in the statistics, once the session
# has ended. Neither counts what was rolled back.
#
# Before PostgreSQL 15 a process of its own collected the statistics, and told them half a second late. There the rows
# themselves are counted.
_STATE = """
select md5(string_agg(c, '' order by c)) from (
    select format('%s %s', oid, xmin) as c from pg_class where relnamespace::regnamespace::text !~ '^pg_(toast|catalog)'
    union all select format('%s %s', oid, xmin) from pg_type where typnamespace <> 'pg_catalog'::regnamespace
    union all select format('%s %s', oid, xmin) from pg_proc where pronamespace <> 'pg_catalog'::regnamespace
    union all select format('%s %s', oid, xmin) from pg_namespace
    union all select format('%s %s', oid, xmin) from pg_extension
    union all select format('%s %s', relid, n_live_tup) from pg_stat_user_tables
    where current_setting('server_version_num')::int >= 150000
) changes
"""
_SESSIONS = """
select pid, coalesce(nullif(application_name, ''), 'a session without a name'),
       state = 'idle' and state_change < clock_timestamp() - make_interval(secs => %s)
from pg_stat_activity
where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'
"""
_PREPARED = "select gid from pg_prepared_xacts where database = current_database()"
_TABLES = """
select count(*) from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p') and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
  and not exists (select from pg_depend d where (d.classid, d.objid, d.deptype) = ('pg_class'::regclass, c.oid, 'e'))
  and not exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = 'version_num')
"""


_COUNTED = """
select format('%I.%I', n.nspname, c.relname) from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind = 'r' and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
  and not exists (select from pg_depend d where (d.classid, d.objid, d.deptype) = ('pg_class'::regclass, c.oid, 'e'))
"""


def count_content(scratch: Scratch) -> tuple[int, int]:
    """Return how many tables there are, and how many rows in them this role sees. Reads every table."""
    names = [str(name) for (name,) in scratch.session.execute(_COUNTED)]
    counts = " + ".join(f"(select count(*) from only {name})" for name in names)
    return len(names), int(str(scalar(scratch.session, f"select {counts}"))) if names else 0


class Effects:
    """Around one step: at its end all its sessions have ended, nothing is left open, and something has changed.

    Raises:
        StepFailed: The database is gone, a transaction is left open, or the step did nothing.
    """

    def __init__(self, scratch: Scratch, title: str) -> None:
        self._scratch = scratch
        self._title = title
        self._counts_rows = scratch.session.info.server_version < 150000

    def __enter__(self) -> Self:
        if not self._counts_rows:
            # What this session did before, such as restoring a snapshot, must not be counted during the step.
            self._scratch.session.execute("select pg_stat_force_next_flush()")
        self._before = self._state()
        self._first_xid = str(
            scalar(self._scratch.session, "select pg_snapshot_xmax(pg_current_snapshot())::xid::text")
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        import psycopg

        if error is not None:
            return
        try:
            self._wait_for_sessions()
            left = [str(name) for (name,) in self._scratch.session.execute(_PREPARED)]
            changed = self._state() != self._before or self._has_newer_rows()
        except psycopg.OperationalError as gone:
            raise StepFailed(
                f"Step {self._title} dropped the database that it was to fill, or ended its sessions.",
                f"{' '.join(str(gone).split()).rstrip('.')}.",
                "Take that out of the step: dbtools gives it an empty database, and drops it afterwards.",
                UNCHANGED,
            ) from gone
        if left:
            raise StepFailed(
                f"Step {self._title} left a prepared transaction open: {', '.join(left)}.",
                "What it did is not committed.",
                "Have the step commit it: commit prepared.",
                UNCHANGED,
            )
        if not changed:
            raise StepFailed(
                f"Step {self._title} ended with exit code 0, but changed nothing in the database that it was given.",
                "It may have nothing to do, may not have committed, or reads another variable for its database.",
                'Map that variable in [tool.dbtools]: env = { DB_NAME = "{dbname}", DB_HOST = "{host}" }',
                UNCHANGED,
            )

    def _state(self) -> str:
        state = str(scalar(self._scratch.session, _STATE))
        return f"{state} {count_content(self._scratch)}" if self._counts_rows else state

    def _has_newer_rows(self) -> bool:
        """Whether a row is of this step's own writing. Reads every table; asked only where nothing else has changed."""
        session = self._scratch.session
        tables = session.execute("select relid::regclass::text from pg_stat_user_tables").fetchall()
        newer = "select exists (select from only {} where age(xmin) <= age(%s::text::xid))"
        return any(scalar(session, newer.format(name), (self._first_xid,)) for (name,) in tables)

    def _wait_for_sessions(self) -> None:
        session, deadline, ended = self._scratch.session, time.monotonic() + LINGERING_S, False
        while found := session.execute(_SESSIONS, (IDLE_S,)).fetchall():
            over = time.monotonic() > deadline
            # A program that goes on connects again; a pooler does not.
            if over or (not ended and all(idle for _, _, idle in found)):
                ended = True
                for pid, _, _ in found:
                    session.execute("select pg_terminate_backend(%s)", (pid,))
            if over:
                raise StepFailed(
                    f"Step {self._title} has ended, but a session of it goes on: {found[0][1]}.",
                    "A program that it left behind would change the content while it is read.",
                    "End that program in the step itself.",
                    UNCHANGED,
                )
            time.sleep(0.01)


def check_migrated(scratch: Scratch, titles: Sequence[str], *, no_revision: bool) -> None:
    """Refuse a database without a table, that of Alembic's revision apart.

    `no_revision` says that Alembic ran and has none, which explains it.

    Raises:
        StepFailed: It is empty.
    """
    row = scratch.session.execute(_TABLES).fetchone()
    if not row or row[0]:
        return
    if no_revision:
        why, hint = "Alembic found no revision.", NO_REVISION
    elif current_revisions(scratch.session):
        why = "They ran to their end and wrote down a revision of Alembic, but its table is the only one."
        hint = (
            "Add the command that makes the tables: some programs make them when they start, and upgrade what is there."
        )
    else:
        why = "They ran to their end, but the database is empty."
        hint = 'Map what names the database in [tool.dbtools]: env = { DB_NAME = "{dbname}", DB_HOST = "{host}" }'
    raise StepFailed(f"The migrate steps ({', '.join(titles)}) made no table.", why, hint, UNCHANGED)


def check_alembic(scratch: Scratch, heads: Sequence[str]) -> None:
    """Refuse a database that is not at all the heads of the history.

    Raises:
        StepFailed: Says where it is.
    """
    here = current_revisions(scratch.session)
    if not here >= set(heads):
        raise StepFailed(
            "Alembic ended without an error, but the database is not at the newest revision.",
            f"It is at {', '.join(sorted(here)) or 'none'}; the history ends at {', '.join(heads)}.",
            "See what env.py connects to: invoke build --keep leaves the database for a look.",
            UNCHANGED,
        )
