"""Observes what a run reads and writes. It asks the server at moments when nothing runs, and changes nothing.

- What a statement is going to use: the server parses it for us, in a transaction that is rolled back. The parser locks
  every relation in a mode that tells how it is used: AccessShare to read, RowExclusive to write.
- What it used besides, in functions, triggers and checks of foreign keys: the locks that its transaction holds after
  it. A statement outside of a transaction has released them by then.
- Which rows changed: the committed versions of all rows, before and after. A version names the transaction that wrote
  it, and pg_locks says whose that is.

The parser does not look into utility commands (COPY, CREATE, ...) and into several statements in one request. Their
relations are those that their text names.
"""

from __future__ import annotations

import re
import zlib
from typing import TYPE_CHECKING, Any

import psycopg

from dbtools.db.lock_probe import lock_name
from dbtools.races.execution import wire
from dbtools.races.execution.row_versions import NAME, OTHERS, Table, TableReader, asking
from dbtools.races.footprint import Access, AccessKind, Change, Footprint
from dbtools.races.trace import EventKind, without_values

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from dbtools.races.execution.session import Session
    from dbtools.races.trace import Step, Trace

_LOCKS = f"""
select l.pid, l.locktype, l.mode, {NAME}, l.classid::int8, l.objid::int8, l.objsubid, l.transactionid::text
from pg_catalog.pg_locks l
left join (pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace and {OTHERS}
             and c.relkind in ('r', 'p', 'v', 'm', 'f'))
  on c.oid = coalesce(pg_partition_root(l.relation), l.relation)
where l.pid = any(%s::int[]) and l.granted
  and (l.locktype in ('advisory', 'transactionid') or l.locktype = 'relation' and c.oid is not null
       and l.database = (select oid from pg_catalog.pg_database where datname = current_database()))
order by l.pid, l.locktype, 4, l.mode
"""
_DEFINES = re.compile(r"\s*(create|alter|drop|reindex|cluster)\b", re.IGNORECASE)
_EMPTIES = re.compile(r"\s*truncate\b", re.IGNORECASE)
_TARGET = re.compile(
    r"\s*(insert\s+into|update|delete\s+from|merge\s+into|copy(?=\s+[^\s(].*\bfrom\b))\s+(only\s+)?[\w.\"]+",
    re.IGNORECASE | re.DOTALL,
)
"""A statement that changes rows, up to the name of their table."""
_PARSED = re.compile(r"\s*(select|values|with|insert|update|delete|merge)\b", re.IGNORECASE)
_LOCKING = re.compile(r"\s*lock\b", re.IGNORECASE)
_EXCLUSIVE = re.compile(r"\bfor\s+(no\s+key\s+)?update\b", re.IGNORECASE)
_CHANGES = re.compile(r"\s*(with\b.*\b)?(update|delete|merge)\b", re.IGNORECASE | re.DOTALL)
_DECLARE = re.compile(r'\s*declare\s+("[^"]+"|\w+)', re.IGNORECASE)
_FETCH = re.compile(r'\s*(?:fetch|move)\b.*?("[^"]+"|\w+)\s*;?\s*', re.IGNORECASE)
_READ, _SHARE, _WRITE = ("AccessShareLock",), ("RowShareLock",), ("RowExclusiveLock",)


class Observer:
    """Observes one run. The connection is a superuser's, in autocommit mode."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self.footprint = Footprint()
        self._connection = connection
        self._held: dict[str, set[tuple[AccessKind, str]]] = {}
        """What the locks of each session say."""
        self._owners: dict[str, str] = {}
        """The session of each transaction."""
        self._cursors: dict[tuple[str, str], int] = {}
        """The steps that have declared cursors, by session and name."""
        self._events = 0
        """How many events were looked at."""
        self._reader = TableReader(connection)
        self._tables: dict[str, Table] = self._reader.read({})

    def observe(self, trace: Trace, sessions: Collection[Session], following: Session | None = None) -> None:
        """Note what came of the steps since the last look, and what the step after them is going to use."""
        try:
            self._observe(trace, sessions, following)
        except psycopg.errors.LockNotAvailable:
            self.footprint.blind = True

    def _observe(self, trace: Trace, sessions: Collection[Session], following: Session | None) -> None:
        by_pid = {session.pid: session.name for session in sessions if session.pid}
        ended = [event.step for event in trace.events[self._events :] if event.kind is EventKind.ENDED]
        self._events = len(trace.events)
        self._look_at_locks(trace, by_pid)
        steps = [trace.steps[number - 1] for number in ended]
        self._reader.updates = self._reader.updates or any(step.tag.startswith(("UPDATE", "MERGE")) for step in steps)
        self._look_at_rows(steps)
        answered = {session.name: session.answered for session in sessions}
        for step in steps:
            self._note_answer(step, answered.get(step.session, 0))
        if following is not None:
            for kind, relation in self._uses(following.sql):
                self.footprint.accesses.append(Access(len(trace.steps) + 1, kind, relation))

    def _note_answer(self, step: Step, answer: int) -> None:
        answers = self.footprint.answers
        answers[step.number] = answer
        if declared := _DECLARE.match(step.sql):
            self._cursors[step.session, declared[1]] = step.number
        elif fetched := _FETCH.fullmatch(step.sql):
            # What a cursor reads is the state in which it was declared, but its rows come with FETCH.
            number = self._cursors.get((step.session, fetched[1]), step.number)
            answers[number] = zlib.crc32(answer.to_bytes(4, "big"), answers[number])

    def _look_at_locks(self, trace: Trace, by_pid: Mapping[int, str]) -> None:
        latest = {step.session: step for step in trace.steps}
        held: dict[str, set[tuple[AccessKind, str]]] = {name: set() for name in by_pid.values()}
        for pid, kind, mode, relation, *key, transaction in self._connection.execute(_LOCKS, [[*by_pid]]).fetchall():
            session = by_pid[pid]
            if kind == "transactionid":
                if mode == "ExclusiveLock":
                    self._owners[transaction] = session
                continue
            if (step := latest.get(session)) is None:
                continue
            use = (AccessKind.LOCK, lock_name(kind, mode, None, *key))
            if kind != "advisory":
                use = (_kind(mode, step.sql), relation)
            held[session].add(use)
            access = Access(step.number, *use)
            if use not in self._held.get(session, ()) and access not in self.footprint.accesses:
                self.footprint.accesses.append(access)
        self._held = held

    def _look_at_rows(self, ended: list[Step]) -> None:
        committed = [step for step in ended if step.transaction == "I"]
        if not committed:
            return
        before, self._tables = self._tables, self._reader.read(self._tables)
        self._find_owners(committed, before)
        by_session = {step.session: step.number for step in committed}
        for name in sorted(before.keys() | self._tables.keys()):
            old, new = before.get(name), self._tables.get(name)
            found: dict[int, dict[str, dict[str, Any]]] = {}

            def note(transaction: str, how: str, key: str, values: Any = None, found: Any = found) -> None:
                step = by_session.get(self._owners.get(transaction, ""), committed[-1].number)
                found.setdefault(step, {}).setdefault(how, {})[key] = values

            if (old and (old.oid, old.shape)) != (new and (new.oid, new.shape)):
                note(new.writer if new else "", "defined", "")
                if new is None or (old is not None and old.oid == new.oid):
                    continue  # its rows are gone, or can no longer be compared
                old = None
            was, now = old.rows if old else {}, new.rows if new else {}
            for key in was.keys() - now.keys():
                note(was[key].ender, "deleted", key)
            for key, version in now.items():
                if key not in was:
                    note(version.writer, "touched" if new and new.large else "inserted", key, version.values)
                elif was[key].place != version.place:
                    note(version.writer, "updated", key)
            self.footprint.changes += [
                Change(
                    step,
                    name,
                    how.get("inserted", {}),
                    frozenset(how.get("updated", ())),
                    frozenset(how.get("deleted", ())),
                    "defined" in how,
                )
                for step, how in sorted(found.items())
            ]

    def _find_owners(self, committed: list[Step], before: Mapping[str, Table]) -> None:
        """Find whose transactions are those that pg_locks has not shown: they were a single statement each.

        Where several such statements end at once that write one relation, they are taken to come in order.
        """
        unknown: dict[str, set[str]] = {}
        known = set()
        for name, table in self._tables.items():
            was = before[name].rows if name in before else {}
            for key, version in table.rows.items():
                if key in was and was[key].place == version.place:
                    continue
                if version.writer in self._owners:
                    known.add(self._owners[version.writer])
                else:
                    unknown.setdefault(version.writer, set()).add(name)
        left = [step for step in committed if step.session not in known]
        for transaction in sorted(unknown, key=int):
            for step in left:
                uses = {access.relation for access in self.footprint.accesses if access.step == step.number}
                if uses & unknown[transaction]:
                    self._owners[transaction] = step.session
                    left.remove(step)
                    break

    def _uses(self, sql: str) -> set[tuple[AccessKind, str]]:
        """Return what a statement is going to use."""
        pid = self._connection.info.backend_pid
        with asking(self._connection):
            parsed = self._connection.pgconn.prepare(b"", sql.encode())
            if parsed.status == psycopg.pq.ExecStatus.COMMAND_OK:
                rows = self._connection.execute(_LOCKS, [[pid]]).fetchall()
                uses = {(_kind(mode, sql), name) for _, kind, mode, name, *_ in rows if kind == "relation"}
                if uses or _PARSED.match(sql):
                    read = [name for kind, name in uses if kind is AccessKind.WRITE and _CHANGES.match(sql)]
                    return uses | {(AccessKind.READ, name) for name in read}
        return self._named_in(sql)

    def _named_in(self, sql: str) -> set[tuple[AccessKind, str]]:
        """Return the relations that a request names, and how it uses them, as far as its text shows."""
        found = set()
        for statement in without_values(wire.without_comments(sql)).split(";"):
            verbs = {AccessKind.LOCK: _LOCKING, AccessKind.DEFINE: _DEFINES, AccessKind.WRITE: _EMPTIES}
            kind = next((kind for kind, verb in verbs.items() if verb.match(statement)), AccessKind.READ)
            end = target.end() if (target := _TARGET.match(statement)) else 0
            read = 0 if _CHANGES.match(statement) else end
            found |= {(AccessKind.WRITE, name) for name in self._tables_in(statement[:end])}
            found |= {(kind, name) for name in self._tables_in(statement[read:])}
        return found

    def _tables_in(self, text: str) -> list[str]:
        words = set(re.findall(r"[\w.]+", text))
        return [name for name in self._tables if name in words or name.rpartition(".")[2] in words]


def _kind(mode: str, sql: str) -> AccessKind:
    """Return how a statement uses a relation that it locks in this mode."""
    if mode in _READ:
        return AccessKind.READ
    if mode in _SHARE:
        return AccessKind.READ if _EXCLUSIVE.search(sql) else AccessKind.SHARE
    if _LOCKING.match(sql):
        return AccessKind.LOCK
    return AccessKind.WRITE if mode in _WRITE or sql.lstrip()[:8].lower() == "truncate" else AccessKind.DEFINE
