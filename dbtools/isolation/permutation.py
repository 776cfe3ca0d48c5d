"""One permutation of a spec: set-up, the steps in their order, tear-down (isolationtester.c's run_permutation)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import psycopg
from psycopg import pq

from dbtools.isolation.format import format_result_set
from dbtools.isolation.libpq import COPY_STARTED, LOCK_CHECK_INTERVAL_S, SpecAborted, StepTimer, next_result
from dbtools.isolation.spec import encode
from dbtools.isolation.step import StepRunner

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from psycopg.pq.abc import PGconn

    from dbtools.isolation.connection import ActiveStep, SessionConnection
    from dbtools.isolation.libpq import StepLimit
    from dbtools.isolation.spec import Permutation, Spec


class PermutationRunner:
    """Runs permutations of one spec, one after the other, on its open connections."""

    def __init__(
        self,
        spec: Spec,
        control: psycopg.Connection,
        connections: Sequence[SessionConnection],
        limit: StepLimit,
        write: Callable[[bytes], object],
    ) -> None:
        self._spec = spec
        self._control = control
        self._connections = connections
        self._limit = limit
        self._write = write
        self._steps = StepRunner(control, connections, limit, write)

    def run(self, permutation: Permutation) -> None:
        """Run one permutation and write its output.

        Raises:
            SpecAborted: A set-up failed, a step did not end even when cancelled, or a connection was lost.
        """
        names = "".join(f" {pstep.step.name}" for pstep in permutation)
        self._write(encode(f"\nstarting permutation:{names}\n"))
        self._set_up()
        waiting: list[ActiveStep] = []
        for pstep in permutation:
            self._wait_for_idle_session(self._connections[pstep.step.session], waiting)
            active_step = self._steps.launch(pstep)
            must_wait = self._steps.try_complete(active_step, nonblock=True, retry=False)
            # Steps that were waiting before may have been released by this one.
            self._steps.try_complete_all(waiting, nonblock=True)
            if must_wait:
                waiting.append(active_step)
        self._steps.try_complete_all(waiting, nonblock=False)
        if waiting:
            raise SpecAborted("failed to complete permutation due to mutually-blocking steps\n")
        self._tear_down()

    def _set_up(self) -> None:
        for sql in self._spec.setups:
            if (message := self._execute(self._control.pgconn, sql, "setup")) is not None:
                raise SpecAborted("setup failed: ", message)
        for connection, session in zip(self._connections, self._spec.sessions, strict=True):
            if session.setup is not None:
                what = f"setup of session {session.name}"
                if (message := self._execute(connection.pgconn, session.setup, what)) is not None:
                    raise SpecAborted(f"{what} failed: ", message)

    def _tear_down(self) -> None:
        """Run the tear-down blocks. A failure is reported, and does not end the spec."""
        for connection, session in zip(self._connections, self._spec.sessions, strict=True):
            if session.teardown is not None:
                what = f"teardown of session {session.name}"
                if (message := self._execute(connection.pgconn, session.teardown, what)) is not None:
                    self._write(encode(f"{what} failed: ") + message)
        if self._spec.teardown is not None:
            message = self._execute(self._control.pgconn, self._spec.teardown, "teardown")
            if message is not None:
                self._write(b"teardown failed: " + message)

    def _execute(self, pgconn: PGconn, sql: str, what: str) -> bytes | None:
        """Run a block to its end and print the rows of its last result. Return the message if that is an error."""
        timer = StepTimer(self._limit, what, pgconn, self._write)
        last = None
        try:
            pgconn.send_query(encode(sql))
            while (result := next_result(pgconn, timer)) is not None:
                last = result
                if last.status in COPY_STARTED:
                    raise SpecAborted(f"{what} failed: COPY with data of the client is not possible in a spec\n")
        except psycopg.OperationalError:
            return pgconn.error_message  # the connection was lost before
        if last is not None and last.status == pq.ExecStatus.TUPLES_OK:
            self._write(format_result_set(last))
        elif last is None or last.status != pq.ExecStatus.COMMAND_OK:
            return pgconn.error_message
        return None

    def _wait_for_idle_session(self, connection: SessionConnection, waiting: list[ActiveStep]) -> None:
        """Wait until the session's earlier step has been reported."""
        started = self._limit.clock()
        while (earlier := connection.active_step) is not None:
            # Even without `nonblock` the step may stay unreported, because of a blocker.
            if not self._steps.try_complete(earlier, nonblock=False, retry=True):
                waiting.remove(earlier)
            # If it was reported, that may have released others; if not, one of the others may release it.
            self._steps.try_complete_all(waiting, nonblock=True)
            if connection.active_step is None:
                break
            waited = self._limit.clock() - started
            if waited > 2 * self._limit.seconds:
                what = f"step {connection.active_step.step.name} timed out after {int(waited)} seconds"
                active = (other.active_step for other in self._connections if other.active_step is not None)
                names = "".join(f" {active_step.step.name}" for active_step in active)
                raise SpecAborted(f"{what}\nactive steps are:{names}\n")
            # Only blockers hold the step back now, so the server may have nothing to say that could wake us.
            time.sleep(LOCK_CHECK_INTERVAL_S)
