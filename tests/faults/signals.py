"""A signal asks a run to end: while it waits for the lock, in the middle of its work, and as process 1."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

from dbtools.chain.phase import COMMIT_UNKNOWN
from dbtools.commands.interrupts import SIGNALS
from dbtools.config import LOCK_KEY
from tests.faults.environment import OLD, Moments, environment
from tests.faults.figures import at_least, at_most, none, shown
from tests.support.projects import may_make_namespaces, start_task
from tests.support.waiting import until

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

    from dbtools.server.embedded import EmbeddedServer
    from tests.faults.environment import Environment
    from tests.faults.figures import Figure

RESET = ("reset", "--as-of", "2026-11-23")
FREED_S = 10.0
"""Within this time nothing of an interrupted run is left on the server."""
PID_1 = ("unshare", "--pid", "--fork", "--kill-child")


def signals(server: EmbeddedServer, *, full: bool) -> Iterator[Figure]:
    """Send each signal to runs that wait for the lock, and at random moments to runs at work."""
    silent: list[str] = []
    wrong: list[str] = []
    waiting, freed = 0, 0.0
    as_first = may_make_namespaces()
    with environment(server) as here:
        contents = here.contents()
        with here.holding(LOCK_KEY):
            for number in SIGNALS:
                silent += _interrupted(here, number)
                waiting += 1
            if as_first:
                silent += _interrupted(here, signal.SIGTERM, wrapped=PID_1)
                waiting += 1
        moments = Moments(30 if full else 4, here.duration(), wanted=2)
        for moment in moments:
            run = start_task(here.url, *RESET)
            until(here.sessions)
            time.sleep(moment)
            run.send_signal(signal.SIGTERM)
            output, errors = run.communicate()
            if run.returncode == 128 + signal.SIGTERM and "Interrupted by SIGTERM." in errors:
                moments.hits += 1
                known = COMMIT_UNKNOWN not in errors and "in place" not in errors
                if known and contents.get(here.digest()) != OLD:
                    wrong.append(errors)
            elif "Reset complete" not in output:  # it was over before the signal
                silent.append(f"{run.returncode}: {errors or 'no line'}")
            freed = max(freed, here.freed())
            here.reset(OLD)
    yield at_least("runs interrupted while they waited", waiting, len(SIGNALS))
    yield at_least("at work", moments.hits, 2)
    yield shown("as process 1 too", "yes" if as_first else "no: may not make namespaces here")
    yield none("no line, or another exit code", silent)
    yield none("database not as the line says", wrong)
    yield at_most("lock free after", freed, FREED_S, "s")


def _interrupted(here: Environment, number: signal.Signals, wrapped: tuple[str, ...] = ()) -> list[str]:
    """Interrupt a run that waits for the lock, and return what is wrong with its end."""
    run = start_task(here.url, *RESET, wrapped=wrapped)
    until(lambda: here.waiters(LOCK_KEY) == 1)
    _send(run, number, wrapped)
    _, errors = run.communicate(timeout=60)
    until(lambda: here.waiters(LOCK_KEY) == 0)  # the next run's wait must not be taken for this one's
    ends = f"Interrupted by {number.name}.\nIn the lock phase. Nothing was changed.\n"
    code = 128 + number
    return [] if run.returncode == code and ends in errors else [f"{number.name}, {run.returncode}: {errors}"]


def _send(run: subprocess.Popen[str], number: signal.Signals, wrapped: tuple[str, ...]) -> None:
    if not wrapped:
        run.send_signal(number)
        return
    children = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text("utf-8").split()
    os.kill(int(children[0]), number)
