"""An audit of who writes: every DDL statement looks whether another run has a transaction open that has written.

A run in place begins to write with DDL (it drops, or creates), and its transaction has a number from then to its end.
So two runs whose writes overlap in time are seen, by the later one's first statement. Counted in sequences, which
no rollback takes back. (Not for swap: a run that writes to a sequence of another schema is refused there.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg

if TYPE_CHECKING:
    from tests.faults.environment import Environment

_SETUP = """
create schema audit;
create sequence audit.checks;
create sequence audit.interleaved;
create function audit.look() returns event_trigger language plpgsql security definer as $$
begin
    if current_setting('application_name') like 'dbtools %' then
        perform nextval('audit.checks');
        if exists (
            select from pg_locks l join pg_stat_activity a using (pid)
            where l.locktype = 'transactionid' and l.mode = 'ExclusiveLock' and l.granted and l.pid <> pg_backend_pid()
              and a.datname = current_database() and a.application_name like 'dbtools %'
        ) then
            perform nextval('audit.interleaved');
        end if;
    end if;
end $$;
create event trigger look on ddl_command_start execute function audit.look();
"""


class Audit:
    """The counts, on one database."""

    def __init__(self, here: Environment) -> None:
        self._environment = here
        here.query(_SETUP)

    def clear(self) -> None:
        """Begin to count anew."""
        for name in ("checks", "interleaved"):
            self._environment.query(f"select setval('audit.{name}', 1, false)")

    def read(self) -> tuple[int, int]:
        """Return how many statements were looked at, and how many met another run's writes."""
        return self._count("checks"), self._count("interleaved")

    def planted(self) -> int:
        """Interleave two writers, and return how many were seen: the audit is not blind."""
        self.clear()
        url = self._environment.url
        with (
            psycopg.connect(url, application_name="dbtools first") as first,
            psycopg.connect(url, autocommit=True, application_name="dbtools second") as second,
        ):
            first.execute("select pg_current_xact_id()")
            second.execute("create table planted ()")
            first.rollback()
            second.execute("drop table planted")
        return self.read()[1]

    def _count(self, name: str) -> int:
        ((last, called),) = self._environment.query(f"select last_value, is_called from audit.{name}")
        return int(last) if called else 0
