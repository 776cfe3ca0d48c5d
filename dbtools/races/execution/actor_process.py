"""The process of an actor: a program that the lab starts, watches and ends. All it is given is a DATABASE_URL.

A command may be anything. A Python callable runs in a forked child of the lab, so it need not import again what the lab
has imported, and starts in a few milliseconds. On Linux, neither outlives the lab.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import re
import signal
import subprocess
import sys
import tempfile
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO

from dbtools.build.environment import DEMANDS, ELSEWHERE
from dbtools.db.dsn import Dsn
from dbtools.errors import NOT_RUN, ConfigurationError
from dbtools.server.folders import temporary_place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from dbtools.races.scenario import Actor

MAX_OUTPUT_CHARACTERS = 4_000
"""How much of the end of an actor's output is kept."""
_RESTS = re.compile(r"^voluntary_ctxt_switches:\s*(\d+)", re.MULTILINE)
_PR_SET_PDEATHSIG = 1


class Program:
    """A running actor."""

    def __init__(self, actor: Actor, url: str, folder: Path) -> None:
        """Start it.

        Raises:
            ConfigurationError: Its command could not be run.
        """
        self.actor = actor
        self.code: int | None = None
        """Its exit status once it has ended; negative after a signal, such as -9."""
        self._password = Dsn.parse(url).password or "\0"
        self._output: BinaryIO = tempfile.TemporaryFile(dir=temporary_place())  # noqa: SIM115 - closed in `end`
        environment = led_environment(url) | dict(actor.environment)
        if actor.call is not None:
            self._process: subprocess.Popen[bytes] | None = None
            self.pid = _fork(actor.call, url, environment, self._output.fileno(), folder)
            return
        try:
            self._process = subprocess.Popen(
                actor.command,
                stdin=subprocess.DEVNULL,
                stdout=self._output,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd=folder,
                start_new_session=True,
                preexec_fn=die_with_parent,  # noqa: PLW1509 - the lab has one thread
            )
        except OSError as error:
            self._output.close()
            raise ConfigurationError(
                f"The actor {actor.name} cannot be started: {' '.join(actor.command)}",
                f"{error.strerror}: {error.filename}.",
                "Correct its command in the scenario; it runs in the project's folder, without a shell.",
                NOT_RUN,
            ) from None
        self.pid = self._process.pid

    def is_over(self) -> bool:
        """Return whether it has ended, by itself or not."""
        if self.code is None:
            if self._process is not None:
                self.code = self._process.poll()
            else:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
                self.code = os.waitstatus_to_exitcode(status) if pid else None
        return self.code is not None

    def is_asleep(self) -> bool:
        """Return whether all its processes and threads wait for something; True where that cannot be known."""
        return all(_state(task) not in "RD" for task in _tasks(self.pid))

    def ran(self) -> int:
        """Return how long its processes and threads have run so far, in nanoseconds; 0 where that cannot be known."""
        return sum(_ran(task) for task in _tasks(self.pid))

    def ready(self) -> int:
        """Return for how long they have run or waited for a processor; 0 where that cannot be known."""
        return sum(sum(_schedstat(task)) for task in _tasks(self.pid))

    def rests(self) -> Mapping[str, int]:
        """Return how often each of its threads has gone to sleep so far; none where that cannot be known."""
        return {task: int(found[1]) for task in _tasks(self.pid) if (found := _RESTS.search(_read(f"{task}/status")))}

    def output(self) -> str:
        """Return the end of what it printed, without the password of its URL."""
        size = self._output.seek(0, os.SEEK_END)
        self._output.seek(max(0, size - 4 * MAX_OUTPUT_CHARACTERS))
        return self._output.read().decode("utf-8", "replace").replace(self._password, "***")[-MAX_OUTPUT_CHARACTERS:]

    def end(self) -> None:
        """Kill what is left of it. Its output can no longer be read."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)  # the group: what it has started goes with it
        if not self.is_over():  # it may be so young that it leads no group yet
            os.kill(self.pid, signal.SIGKILL)
        while not self.is_over():
            with suppress(ChildProcessError):
                os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        self._output.close()


def led_environment(url: str) -> dict[str, str]:
    """Return the caller's environment with the variables that lead a program to this database, and to no other."""
    dsn = Dsn.parse(url)
    kept = {name: value for name, value in os.environ.items() if name not in (*ELSEWHERE, *DEMANDS)}
    return kept | {
        "DATABASE_URL": url,
        "PGHOST": dsn.host,
        "PGPORT": dsn.port,
        "PGUSER": dsn.user,
        "PGPASSWORD": dsn.password,
        "PGDATABASE": dsn.dbname,
        "PGSSLMODE": "disable",
        "PGGSSENCMODE": "disable",
    }


def _fork(call: Callable[[str], object], url: str, environment: Mapping[str, str], output: int, folder: Path) -> int:
    sys.stdout.flush()
    sys.stderr.flush()
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        _become_child(environment, output, folder)
        if os.getppid() == parent:
            call(url)
            code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)  # noqa: T201 - as the interpreter does
    except BaseException:  # noqa: BLE001 - this process ends here, whatever happens
        traceback.print_exc()
    finally:
        with suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _become_child(environment: Mapping[str, str], output: int, folder: Path) -> None:
    # No object of the lab may be collected here: its finalizer would close a file descriptor that has a new owner.
    gc.freeze()
    os.setsid()
    die_with_parent()
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    asyncio._set_running_loop(None)  # noqa: SLF001 - no public call ends a loop that was forked
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - a file descriptor, for the process's life
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent ends; only Linux does."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _tasks(pid: int) -> Iterator[str]:
    """Yield the folders under /proc of all threads of a process and of its descendants.

    As strings, not as paths: this is called several times a step.
    """
    folder = f"/proc/{pid}/task"
    with suppress(OSError):
        for thread in os.listdir(folder):  # noqa: PTH208
            yield f"{folder}/{thread}"
            for child in _read(f"{folder}/{thread}/children").split():
                yield from _tasks(int(child))


def _state(task: str) -> str:
    return _read(f"{task}/stat").rpartition(") ")[2][:1] or "X"


def _ran(task: str) -> int:
    return _schedstat(task)[0]


def _schedstat(task: str) -> tuple[int, int]:
    """Return how long a thread has run, and how long it has waited for a processor, in nanoseconds."""
    ran, waited, *_ = (*_read(f"{task}/schedstat").split(), "0", "0")
    return int(ran), int(waited)


def _read(path: str) -> str:
    try:
        file = os.open(path, os.O_RDONLY)
    except OSError:
        return ""
    try:
        return os.read(file, 65536).decode("ascii", "replace")
    except OSError:
        return ""  # it ended meanwhile
    finally:
        os.close(file)
