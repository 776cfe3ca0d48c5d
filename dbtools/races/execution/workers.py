"""Processes that run schedules at the same time, each on a server of its own, so that none sees another's sessions.

Their servers are copies of the lab's, made while that is at rest: the start state is the same to the last byte, also
where making it twice would give other times and keys. The processes are forked, because an actor may be any function.

Whoever explores asks for one run after the other, and names those that would follow. These are begun ahead, and kept
until they are asked for. So what is found does not depend on which of them ends first.
"""

from __future__ import annotations

import gc
import os
import signal
import time
import traceback
from contextlib import contextmanager
from itertools import chain, islice
from multiprocessing import Pipe
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, cast

from dbtools.errors import DbtoolsError
from dbtools.races.execution.actor_process import die_with_parent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager
    from multiprocessing.connection import Connection

    from dbtools.races.run import RunResult
    from dbtools.races.schedule import Strategy

Task: TypeAlias = tuple["Callable[..., Strategy]", "tuple[Any, ...]"]
"""What makes the strategy of a run, and its arguments. Both can be pickled; equal ones lead to equal runs."""
Runner: TypeAlias = "Callable[[Task, float, float], RunResult]"
"""Makes the run of a task, given the lab's patience and the deadline."""
Copied: TypeAlias = "Callable[[], AbstractContextManager[Runner]]"
"""Copies the lab's server, in a process that was forked while it is at rest."""

AHEAD = 4
"""How many runs are under way or kept, for each process: one that takes long must not stop the others."""
GRACE_S = 20.0
"""How long a process may take to end its server before it is killed."""
_SIGNALS = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}


class Worker(NamedTuple):
    """One process."""

    pid: int
    channel: Connection


class Workers:
    """The processes of a lab."""

    def __init__(self, name: str, copied: Copied, count: int) -> None:
        """Start as many, and return once each has what `copied` yields. `name` is the scenario's.

        Raises:
            DbtoolsError: A process has ended.
            Exception: What `copied` raised in one.
        """
        self._name = name
        self._workers: list[Worker] = []
        self._busy: dict[Worker, Task] = {}
        self._done: dict[Task, RunResult | Exception] = {}
        try:
            for _ in range(count):
                self._workers.append(_fork(copied, [worker.channel for worker in self._workers]))
            for worker in tuple(self._workers):
                self._wait_until_ready(worker)
        except BaseException:
            self.close()
            raise

    def run(self, task: Task, following: Iterable[Task], patience: float, deadline: float) -> RunResult:
        """Return the run of a task; meanwhile begin some of those that follow, in their order.

        Raises:
            DbtoolsError: A process has ended.
            Exception: What the run raised, in the process that made it.
        """
        window = list(islice(chain([task], following), AHEAD * len(self._workers)))
        self._done = {known: run for known, run in self._done.items() if known in window}  # nobody asks for the others
        while True:
            self._receive(block=False)
            for wanted in window:
                idle = [worker for worker in self._workers if worker not in self._busy]
                if idle and wanted not in self._done and wanted not in self._busy.values():
                    self._busy[idle[0]] = wanted
                    with self._noticing_its_end(idle[0]):
                        idle[0].channel.send((wanted, patience, deadline))
            if task in self._done:
                found = self._done.pop(task)
                if isinstance(found, Exception):
                    raise found
                return found
            self._receive(block=True)

    def _wait_until_ready(self, worker: Worker) -> None:
        with self._noticing_its_end(worker):
            error = worker.channel.recv()
        if error:
            raise error

    def _receive(self, *, block: bool) -> None:
        channels = {worker.channel: worker for worker in self._busy}
        for channel in wait(channels, None if block else 0):
            worker = channels[cast("Connection", channel)]
            with self._noticing_its_end(worker):
                self._done[self._busy[worker]] = worker.channel.recv()
            del self._busy[worker]

    @contextmanager
    def _noticing_its_end(self, worker: Worker) -> Iterator[None]:
        try:
            yield
        except (EOFError, ConnectionError):
            _, status = os.waitpid(worker.pid, 0)
            self._workers.remove(worker)
            raise _ended(self._name, os.waitstatus_to_exitcode(status)) from None

    def close(self) -> None:
        """End the processes and their servers."""
        for worker in self._workers:
            worker.channel.close()
            os.kill(worker.pid, signal.SIGTERM)
        deadline = time.monotonic() + GRACE_S
        for worker in self._workers:
            while not os.waitpid(worker.pid, os.WNOHANG)[0]:
                if time.monotonic() > deadline:
                    os.kill(worker.pid, signal.SIGKILL)  # its server follows it
                time.sleep(0.002)
        self._workers.clear()


def _fork(copied: Copied, others: list[Connection]) -> Worker:
    ours, theirs = Pipe()
    parent = os.getpid()
    # A signal that arrives between the two processes must reach the parent, and never the child's copy of its code.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        pid = os.fork()
    except OSError:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        raise
    if pid:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        theirs.close()
        return Worker(pid, ours)
    code = 1
    try:
        gc.freeze()  # no object of the parent's may be collected here
        os.setsid()  # Ctrl-C is for the parent, which ends us
        die_with_parent()
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for channel in (ours, *others):
            channel.close()  # else the parent's end would not be noticed
        if os.getppid() == parent:
            _work(copied, theirs)
        code = 0
    except (EOFError, ConnectionError, KeyboardInterrupt):
        code = 0  # nobody wants us any more
    except BaseException:  # noqa: BLE001 - this process ends here, whatever happens
        traceback.print_exc()
    finally:
        os._exit(code)


def _work(copied: Copied, channel: Connection) -> None:
    """Run what comes in, until nothing does. Any error is the parent's to raise."""
    try:
        with copied() as run:
            channel.send(None)
            while True:
                task, patience, deadline = channel.recv()
                try:
                    done: object = run(task, patience, deadline)
                except Exception as error:  # noqa: BLE001
                    done = error
                channel.send(done)
    except (EOFError, ConnectionError):
        raise
    except Exception as error:  # noqa: BLE001
        channel.send(error)


def _ended(name: str, code: int) -> DbtoolsError:
    how = f"It was ended by {signal.Signals(-code).name}." if code < 0 else f"It ended with exit code {code}."
    return DbtoolsError(
        f"A process that ran schedules of {name} has ended.",
        how,
        "Where memory is short, the system may have ended it: run this again, with fewer --jobs.",
        "Its server ends with it.",
    )
