"""Worker processes that begin at one moment, or one after the other."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING

from dbtools.checks.job import Job, Result

if TYPE_CHECKING:
    from collections.abc import Sequence

ENDING_S = 20.0
"""How long a worker that is asked to end may take: it ends the step that it runs first."""


def run_at_once(jobs: Sequence[Job], timeout: float) -> list[Result]:
    """Start one process per job, wait until all are ready, give the start signal, and return how each ended.

    Those that still run after `timeout` seconds are ended, and have timed out. None is left when this returns or
    raises.
    """
    processes: list[subprocess.Popen[str]] = []
    late, over = threading.Event(), threading.Event()

    def end_late_ones() -> None:
        if not over.wait(timeout):
            late.set()
            _end(processes, over)

    clock = threading.Thread(target=end_late_ones, daemon=True)
    try:
        for job in jobs:
            processes += [_start(job)]
        clock.start()
        for process, job in zip(processes, jobs, strict=True):
            _send(process, json.dumps(asdict(job)))
        for process in processes:
            assert process.stdout is not None
            process.stdout.readline()
        for process in processes:
            _send(process, "go")
        ended = [(job, process, *process.communicate()) for process, job in zip(processes, jobs, strict=True)]
        return [_result(*one, f"No end within {timeout:.0f} s" if late.is_set() else "") for one in ended]
    finally:
        over.set()
        if clock.ident is not None:
            clock.join()
        _end(processes, threading.Event())
        for process in processes:
            process.communicate()


def _start(job: Job) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "dbtools.checks.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=job.root,
        start_new_session=True,  # Ctrl-C is for the parent, which ends them
    )


def _end(processes: Sequence[subprocess.Popen[str]], over: threading.Event) -> None:
    """Ask those that still run to end, and kill those that do not, unless all is `over` before."""
    running = [process for process in processes if process.poll() is None]
    for process in running:
        process.terminate()
    deadline = time.monotonic() + ENDING_S
    while any(process.poll() is None for process in running) and time.monotonic() < deadline and not over.is_set():
        time.sleep(0.01)
    for process in running:
        process.kill()


def _send(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    with suppress(BrokenPipeError):  # it died already, which _result reports
        process.stdin.write(f"{line}\n")
        process.stdin.flush()


def _result(job: Job, process: subprocess.Popen[str], output: str, errors: str, late: str) -> Result:
    if process.returncode < 0 and late:
        return Result(job.action, error=late, timed_out=True)
    if process.returncode:
        last = errors.strip().splitlines()[-1] if errors.strip() else f"exit {process.returncode}"
        return Result(job.action, error=last)
    return Result(**json.loads(output))
