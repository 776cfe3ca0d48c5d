"""A step's program as processes: started in a group of its own, read to its end, and ended with all that it started.

Nothing of it outlives dbtools. What ends it:

- its own end, its time limit, or an exception here (Ctrl-C): this module, which first asks (SIGTERM) and then kills;
- the end of dbtools by kill -9: a watchdog, which finds the processes by group and mark; and on Linux the kernel's
  parent-death signal, for the program alone.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dbtools.build.left_behind import Process, find_left_behind
from dbtools.server.run_as import clean_environment, signal_at_parent_death
from dbtools.server.watchdog import Watchdog

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from dbtools.build.output import Output

SETTLE_S = 2.0
"""How long what the program started may take to end after it."""
TERMINATION_S = 5.0
"""How long processes that are asked to end may take before they are killed."""
INTERRUPTED_S = 2.0
"""The same, while somebody waits after Ctrl-C."""
KILL_S = 10.0
"""How long a killed process may take to vanish: one that waits for a disk does not at once."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.001, 0.05

# $0 the mark. The first line is the group, once there is one; the second says that all is over.
WATCHDOG = """
read -r group
read -r _ && exit
for _ in 1 2 3; do
  [ -z "$group" ] || kill -KILL -- "-$group"
  for file in $(grep -lsF -- "$0" /proc/[0-9]*/environ); do
    pid=${file#/proc/}
    kill -KILL "${pid%/environ}"
  done
done
"""


class NotStarted(Exception):
    """A program could not be started; `error` says why."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.error = error


@dataclass(frozen=True)
class Ending:
    """How a program ended."""

    code: int
    """Its exit code; negative after a signal, such as -9."""
    seconds: float
    timed_out: bool
    left_behind: tuple[Process, ...]
    """What was still running afterwards, and was ended."""
    at_work: bool
    """Whether that was still at work, as the caller's question found."""


def run_program(
    command: Sequence[str],
    *,
    cwd: Path,
    environment: Mapping[str, str],
    mark: str,
    output: Output,
    timeout_s: float | None,
    at_work: Callable[[], bool],
) -> Ending:
    """Run a program to its end and return how it ended. It reads nothing and writes to `output`.

    `environment` holds `mark`, a text "NAME=value". `at_work` is asked while something that the program left behind is
    still running.

    Raises:
        NotStarted: It could not be started.
    """
    watchdog = Watchdog(["/bin/sh", "-c", WATCHDOG, mark], environment=clean_environment())
    try:
        running = _Running(command, cwd, environment, mark, output)
        try:
            _tell(watchdog, str(running.pid))
            ending = running.follow(timeout_s, at_work)
        except BaseException:
            running.end(INTERRUPTED_S)
            running.close()
            raise
        running.close()
        _tell(watchdog, "over")
        return ending
    finally:
        watchdog.close()


def _tell(watchdog: Watchdog, text: str) -> None:
    with suppress(BrokenPipeError):  # somebody has killed it
        os.write(watchdog.write_end, f"{text}\n".encode())


class _Running:
    """A program that was started. Until `close` it is not reaped, so that its group's number stays its own."""

    def __init__(
        self, command: Sequence[str], cwd: Path, environment: Mapping[str, str], mark: str, output: Output
    ) -> None:
        parent = os.getpid()

        def die_with_parent() -> None:
            signal_at_parent_death(signal.SIGKILL)
            if os.getppid() != parent:  # it died before we asked: no signal will come
                os._exit(1)

        self._started = time.monotonic()
        try:
            self._process = subprocess.Popen(
                command,
                cwd=cwd,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with_parent,  # noqa: PLW1509 - it calls nothing that a lock could hold up
            )
        except OSError as error:
            raise NotStarted(error) from None
        self.pid = self._process.pid
        assert self._process.stdout is not None
        self._pipe = self._process.stdout
        self._mark, self._output = mark, output
        self._pipe_name = f"pipe:[{os.fstat(self._pipe.fileno()).st_ino}]"
        self._poll = select.poll()
        self._poll.register(self._pipe, select.POLLIN)
        self._is_open = True

    def follow(self, timeout_s: float | None, at_work: Callable[[], bool]) -> Ending:
        deadline = self._started + timeout_s if timeout_s is not None else float("inf")
        self._read_until(self._has_ended, deadline)
        timed_out = not self._has_ended()
        if timed_out:
            self.end(TERMINATION_S)
            return Ending(self._code(), time.monotonic() - self._started, True, (), False)
        seconds = time.monotonic() - self._started
        left_behind, still_at_work = self._settle(), False
        if left_behind:
            still_at_work = at_work()
            self.end(TERMINATION_S)
        return Ending(self._code(), seconds, False, left_behind, still_at_work)

    def end(self, patience_s: float) -> None:
        """End all of its processes: ask them, and kill those that are still there after `patience_s`."""
        for number, seconds in ((signal.SIGTERM, patience_s), (signal.SIGKILL, KILL_S)):
            if self._process.returncode is not None or self._is_gone():
                break
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)
            for process in self._left_behind():
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(process.pid, number)
            self._read_until(self._is_gone, time.monotonic() + seconds)

    def close(self) -> None:
        """Reap the program, and read no more of its output."""
        if self._has_ended():
            self._process.wait()
        self._pipe.close()
        self._output.finish()

    def _settle(self) -> tuple[Process, ...]:
        """Give what the program started a moment to end, and return what did not."""
        deadline = time.monotonic() + SETTLE_S
        left_behind: list[Process] = []

        def has_settled() -> bool:
            left_behind[:] = self._left_behind()
            return not left_behind

        self._read_until(lambda: not self._is_open, deadline)
        self._read_until(has_settled, deadline)
        return tuple(left_behind)

    def _has_ended(self) -> bool:
        if self._process.returncode is not None:
            return True
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def _is_gone(self) -> bool:
        return self._has_ended() and not self._left_behind()

    def _left_behind(self) -> list[Process]:
        return [
            process
            for process in find_left_behind(self.pid, self._mark, self._pipe_name)
            if process.pid != self.pid  # the program itself
        ]

    def _code(self) -> int:
        if not self._has_ended():
            return -signal.SIGKILL
        return self._process.wait()

    def _read_until(self, condition: Callable[[], bool], deadline: float) -> None:
        """Pass the output on until `condition` holds or the deadline is over."""
        pause_s = FIRST_PAUSE_S
        while not condition():
            rest_s = deadline - time.monotonic()
            if rest_s <= 0:
                return
            if not self._is_open:
                time.sleep(min(pause_s, rest_s))
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            elif self._poll.poll(1000 * min(LONGEST_PAUSE_S, rest_s)):
                data = os.read(self._pipe.fileno(), 1 << 16)
                self._is_open = bool(data)
                self._output.feed(data)
