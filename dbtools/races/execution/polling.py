"""Tells when a program polls: it sends the same requests again and again, sleeps, and gets the same answers.

Such a program has yielded, as a thread has that sleeps in a loop: until another one has done something, asking again is
in vain. After CHESS (Musuvathi and Qadeer, "Fair Stateless Model Checking", PLDI 2008).

It has yielded only once a cycle of requests has come twice with the same answers, none of which tells of an effect: a
program may read twice with a pause in between and still be in the middle of its work.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dbtools.races.execution import wire
from dbtools.races.trace import without_values

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dbtools.races.execution.actor_process import Program
    from dbtools.races.execution.session import Session
    from dbtools.races.trace import Step

MAX_CYCLE = 8
"""How many requests a cycle may have."""
MIN_SLEEP_S = 0.004
"""How long a program must neither run nor be ready to, between an answer and its next request, to have slept."""
MAX_SPINS = 20
"""So many equal cycles are a poll even where the program does not sleep."""
_NO_EFFECT = re.compile(r"SELECT \d+|(UPDATE|DELETE|MERGE|INSERT 0|COPY|FETCH) 0|FETCH \d+|COMMIT|ROLLBACK|SHOW|")
_SERVER_SLEEP = re.compile(r"\bpg_sleep", re.IGNORECASE)


@dataclass(frozen=True)
class _Exchange:
    """A request, its answer, and whether the program slept before it."""

    sql: str
    """The request without its values: those of a poll are often times."""
    answer: int
    """A checksum."""
    slept: bool
    effect: bool

    def same(self, other: _Exchange) -> bool:
        return (self.sql, self.answer) == (other.sql, other.answer) and not self.effect


class Polling:
    """What one actor has asked so far."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._exchanges: list[_Exchange] = []
        self._answered = (time.monotonic(), 0)
        self._rests: Mapping[str, int] = {}
        """How often its threads had gone to sleep when it was answered last."""
        self._late = False
        """Its last request came late: it has slept, or the lab was slow to see it."""
        self._slept = False
        """Whether the program has slept since its last choice went to the server."""
        self._slept_before = False
        """The same of that choice."""
        self._progress = -1
        """How far the others were when it asked last."""
        self._began = 0.0
        """When its polling began."""

    @property
    def begun(self) -> bool:
        """Whether it has had an answer."""
        return bool(self._exchanges)

    def expect_request(self) -> None:
        """Take notice that an answer is passed on to the program."""
        self._look()
        self._answered, self._rests = (time.monotonic(), self._program.ready()), self._program.rests()

    def expect_answer(self) -> None:
        """Take notice of a request of the program."""
        at, ready = self._answered
        busy_s = (self._program.ready() - ready) / 1e9
        self._late = time.monotonic() - at - busy_s >= MIN_SLEEP_S

    def _look(self) -> None:
        """Find out whether it has slept before its last request, now that it waits for the answer.

        On a busy machine the lab may see a request late. But then the program has gone to sleep only once since the
        answer before it: for the next answer.
        """
        if self._late:
            now = self._program.rests()
            same = now.keys() == self._rests.keys() != set()
            self._slept = self._slept or not same or sum(now.values()) - sum(self._rests.values()) > 1
        self._late = False

    def polls(self, session: Session, patience: float = 0.0) -> bool:
        """Return whether a held request is another round of a poll that has been going on for `patience` seconds."""
        self._look()
        done, asked = self._exchanges, without_values(session.sql)
        for length in range(1, MAX_CYCLE + 1):
            if len(done) < 2 * length or done[-length].sql != asked:
                continue
            slept = self._slept and any(one.slept for one in done[len(done) - 2 * length + 1 : len(done) - length + 1])
            cycles = 2 if slept else MAX_SPINS
            if len(done) >= cycles * length and all(
                done[-number].same(done[-number - length]) for number in range(1, (cycles - 1) * length + 1)
            ):
                self._began = self._began or time.monotonic()
                return time.monotonic() - self._began >= patience
        self._began = 0.0
        return False

    def has_yielded(self, session: Session, progress: int, patience: float) -> bool:
        """Return whether asking again is in vain, because nobody else has got on since."""
        return self._progress == progress and self.polls(session, patience)

    def asked(self, session: Session, progress: int) -> None:
        """Take notice that a request that is a choice goes to the server."""
        self._look()
        self._progress = progress
        self._slept_before, self._slept = self._slept, _SERVER_SLEEP.search(session.sql) is not None

    def answered(self, session: Session, step: Step) -> None:
        """Take notice of an answer to a request that was a choice."""
        effect = not step.sqlstate and _NO_EFFECT.fullmatch(step.tag) is None
        self._exchanges.append(_Exchange(without_values(step.sql), session.answered, self._slept_before, effect))

    def gave_up(self) -> bool:
        """Return whether the last that it did was to get the same answer again, after a sleep."""
        done = self._exchanges
        while done and wire.is_end(done[-1].sql):
            done = done[:-1]
        for length in range(1, MAX_CYCLE + 1):
            cycle, before = done[-length:], done[-2 * length : -length]
            pairs = list(zip(cycle, before, strict=False))
            if len(before) == length and any(one.slept for one in cycle) and all(a.same(b) for a, b in pairs):
                return True
        return False
