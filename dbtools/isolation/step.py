"""The steps of a permutation: sending them, and reporting them as waiting or completed.

The heart is isolationtester.c's try_complete_step. A step that does not end is reported as waiting once the server says
that another session of the test blocks it. So the output does not depend on how fast the server is, only on who waits
for whom.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import psycopg

from dbtools.db.lock_probe import Probe
from dbtools.isolation.connection import ActiveStep
from dbtools.isolation.format import format_result
from dbtools.isolation.libpq import COPY_STARTED, SpecAborted, StepTimer, consume_input, is_readable, next_result
from dbtools.isolation.spec import NumNotices, Once, OtherStep, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dbtools.isolation.connection import SessionConnection
    from dbtools.isolation.libpq import StepLimit
    from dbtools.isolation.spec import PermutationStep


class StepRunner:
    """Sends steps to their sessions and writes what they print."""

    def __init__(
        self,
        control: psycopg.Connection,
        connections: Sequence[SessionConnection],
        limit: StepLimit,
        write: Callable[[bytes], object],
    ) -> None:
        self._probe = Probe(control)
        self._connections = connections
        self._limit = limit
        self._write = write

    def launch(self, pstep: PermutationStep) -> ActiveStep:
        """Send a step to its session, which must be idle.

        Raises:
            SpecAborted: The connection was lost.
        """
        connection = self._connections[pstep.step.session]
        try:
            connection.pgconn.send_query(encode(pstep.step.sql))
        except psycopg.OperationalError:
            what = f"failed to send query for step {pstep.step.name}: "
            raise SpecAborted(what, connection.pgconn.error_message + b"\n") from None
        target_notices = {
            blocker: blocker.count + self._connections[blocker.step.session].total_notices
            for blocker in pstep.blockers
            if isinstance(blocker, NumNotices)
        }
        connection.active_step = ActiveStep(pstep, connection, target_notices)
        return connection.active_step

    def try_complete_all(self, waiting: list[ActiveStep], *, nonblock: bool) -> None:
        """Retry every waiting step, and drop from `waiting` those that were reported.

        A step with a blocker may be released by one that is looked at after it, by its end or by a notice. So where
        such a step is left and something has happened, all are looked at again: else the order of the output would
        depend on their order in the list.
        """
        while True:
            steps_before, notices_before = len(waiting), self._count_notices()
            for active_step in list(waiting):
                if not self.try_complete(active_step, nonblock=nonblock, retry=True):
                    waiting.remove(active_step)
            news = len(waiting) < steps_before or self._count_notices() > notices_before
            if not (news and any(active_step.pstep.blockers for active_step in waiting)):
                return

    def try_complete(self, active_step: ActiveStep, *, nonblock: bool, retry: bool) -> bool:
        """Wait until the step ends, and report it. Return True if it still waits, and was not reported.

        With `nonblock` (STEP_NONBLOCK), do not wait for a step that waits for a lock of another session. `retry`
        (STEP_RETRY) is for a step that was reported as waiting before. Whatever the flags, a blocker can keep a step
        that has ended from being reported.
        """
        step, connection = active_step.step, active_step.connection
        waiting_report = "" if retry else f"step {step.name}: {step.sql} <waiting ...>\n"
        if not retry and any(isinstance(blocker, Once) for blocker in active_step.pstep.blockers):
            self._print(waiting_report)
            return True
        timer = StepTimer(self._limit, f"step {step.name}", connection.pgconn, self._write)
        while connection.is_busy:
            if is_readable(connection.pgconn):
                consume_input(connection.pgconn)
            elif nonblock and self._waits_for_lock(connection):
                # The result may have arrived while the server was asked. Then the step is not waiting any more.
                consume_input(connection.pgconn)
                if connection.is_busy:
                    self._print(waiting_report)
                    return True
            else:
                timer.check()
        if self._has_blocker(active_step):
            self._print(waiting_report)
            return True
        self._print(f"step {step.name}: <... completed>\n" if retry else f"step {step.name}: {step.sql}\n")
        self._report(active_step, timer)
        return False

    def _waits_for_lock(self, connection: SessionConnection) -> bool:
        try:
            return bool(self._probe.stuck([connection.pid], [other.pid for other in self._connections]))
        except psycopg.Error as error:
            raise SpecAborted(f"lock wait query failed: {error}\n") from None

    def _has_blocker(self, active_step: ActiveStep) -> bool:
        """Return whether a blocker keeps a step that has ended from being reported (step_has_blocker)."""
        for blocker in active_step.pstep.blockers:
            match blocker:
                case OtherStep(step):
                    other = self._connections[step.session].active_step
                    if other is not None and other.step is step:
                        return True
                case NumNotices(step):
                    if self._connections[step.session].total_notices < active_step.target_notices[blocker]:
                        return True
        return False

    def _report(self, active_step: ActiveStep, timer: StepTimer) -> None:
        """Print the results of a step that has ended, then the notifications that came with them."""
        step, connection = active_step.step, active_step.connection
        pgconn = connection.pgconn
        while (result := next_result(pgconn, timer)) is not None:
            self._write(format_result(result))
            if result.status in COPY_STARTED:
                raise SpecAborted(f"step {step.name}: COPY with data of the client is not possible in a spec\n")
        # A connection that was lost is no news here: the results have said so.
        with suppress(psycopg.OperationalError):
            pgconn.consume_input()
        names = {other.pid: other.session_name for other in self._connections}
        while (notify := pgconn.notifies()) is not None:
            sender = encode(names.get(notify.be_pid, f"PID {notify.be_pid}"))
            what = b'NOTIFY "%s" with payload "%s" from %s\n' % (notify.relname, notify.extra, sender)
            self._write(encode(f"{connection.session_name}: ") + what)
            with suppress(psycopg.OperationalError):
                pgconn.consume_input()
        connection.active_step = None

    def _count_notices(self) -> int:
        return sum(connection.total_notices for connection in self._connections)

    def _print(self, text: str) -> None:
        self._write(encode(text))
