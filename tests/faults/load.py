"""Readers and a writer that go on whatever happens, and notice what no reader may see."""

from __future__ import annotations

import multiprocessing
import os
import random
import time
from collections import Counter
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import psycopg

from tests.faults.child import Child

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.synchronize import Event

    from tests.faults.environment import Environment

_VISITS = """
select count(*), min(i.id::text), max(c.name), string_agg(distinct i.status::text, ' ')
from invoices i join appointments a on a.id = i.appointment_id join clients c on c.id = a.client_id
join pets p on p.client_id = c.id
"""
_LIST = """
select i.id::text, i.status::text, a.status::text, c.name, s.name
from clients c join appointments a on a.client_id = c.id join staff s on s.id = a.staff_id
join invoices i on i.appointment_id = a.id order by 1 limit 20
"""
_TOTAL = "select count(*), max(id::text) from invoices"
_LINES = """
select count(distinct i.id), max(i.id::text), max(l.id::text)
from invoices i join invoice_line_items l on l.invoice_id = i.id
"""
JOINS = (_VISITS, _LIST)
PAIR = (_TOTAL, _LINES)
"""Both read in one transaction."""
WRITE = "update invoices set notes = %s where id = (select id from invoices where id > gen_random_uuid() limit 1)"
_context = multiprocessing.get_context("fork")


@dataclass
class Seen:
    """What one reader saw."""

    reads: int = 0
    errors: list[str] = field(default_factory=list)
    mixtures: int = 0
    """Answers that are neither the old content's nor the new one's, and transactions with a part of both."""
    worst: float = 0.0
    """The longest time for one answer, in seconds."""

    def __add__(self, other: Seen) -> Seen:
        return Seen(
            self.reads + other.reads,
            self.errors + other.errors,
            self.mixtures + other.mixtures,
            max(self.worst, other.worst),
        )


@dataclass
class Crowd:
    """What all readers and the writer saw; complete after the block."""

    readers: Seen = field(default_factory=Seen)
    writer: Seen = field(default_factory=Seen)


Answers = dict[tuple[str, str], int]
"""Whose content a query's answer shows."""


def answers(here: Environment, seeds: tuple[int, ...]) -> Answers:
    """Reset to each seed and return what the readers' queries give."""
    known: Answers = {}
    for seed in seeds:
        here.reset(seed)
        for sql in (*JOINS, *PAIR):
            known[sql, str(here.query(sql))] = seed
    assert len(known) == len(seeds) * len({*JOINS, *PAIR})
    return known


@contextmanager
def crowd(here: Environment, known: Answers, readers: int, *, writer: bool = False) -> Iterator[Crowd]:
    """Keep this many readers, and a writer, at work on the database during the block."""
    stop, seen = _context.Event(), Crowd()
    with ExitStack() as stack:
        reading = [
            stack.enter_context(Child(partial(_read, here.url, known, stop, repeatable=bool(number % 2))))
            for number in range(readers)
        ]
        writing = [stack.enter_context(Child(partial(_write, here.url, stop)))] if writer else []
        try:
            yield seen
        finally:
            stop.set()
        for children, name in ((reading, "readers"), (writing, "writer")):
            for child in children:
                ended = child.finish()
                found = ended.value if ended.ok else Seen(errors=[ended.error])
                setattr(seen, name, getattr(seen, name) + found)


def _read(url: str, known: Answers, stop: Event, *, repeatable: bool) -> Seen:
    seen, parent = Seen(), os.getppid()
    with psycopg.connect(url, autocommit=True, application_name="faults reader") as connection:
        while not stop.is_set() and os.getppid() == parent:
            started, shown = time.monotonic(), Counter[int | None]()
            try:
                if seen.reads % 5 == 4:
                    with connection.transaction():
                        if repeatable:
                            connection.execute("set transaction isolation level repeatable read")
                        for sql in PAIR:
                            shown[known.get((sql, str(connection.execute(sql).fetchall())))] += 1
                else:
                    sql = JOINS[seen.reads % 2]
                    shown[known.get((sql, str(connection.execute(sql).fetchall())))] += 1
            except psycopg.Error as error:
                seen.errors.append(f"{type(error).__name__}: {error}")
                if connection.closed:
                    break
            seen.mixtures += None in shown or len(shown) > 1
            seen.reads += 1
            seen.worst = max(seen.worst, time.monotonic() - started)
    return seen


def _write(url: str, stop: Event) -> Seen:
    seen, parent = Seen(), os.getppid()
    with psycopg.connect(url, autocommit=True, application_name="faults writer") as connection:
        while not stop.is_set() and os.getppid() == parent:
            started = time.monotonic()
            try:
                connection.execute(WRITE, (str(seen.reads),))
            except psycopg.Error as error:
                seen.errors.append(f"{type(error).__name__}: {error}")
                if connection.closed:
                    break
            seen.reads += 1
            seen.worst = max(seen.worst, time.monotonic() - started)
            time.sleep(random.uniform(0, 0.005))  # noqa: S311 - not for cryptography
    return seen
