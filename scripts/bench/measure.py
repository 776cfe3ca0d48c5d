"""Times of actions and of whole processes."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ROOT = Path(__file__).resolve().parent.parent.parent
AS_OF = "2026-11-23"


def clean_environment() -> dict[str, str]:
    """Return the variables of this process, but for those that decide what is seeded, and where."""
    return {name: text for name, text in os.environ.items() if not name.startswith(("SEED_", "PG"))}


def seconds(action: Callable[[], object]) -> float:
    """Return how many seconds `action` took."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def run(command: Sequence[str], environ: dict[str, str], folder: Path = ROOT) -> None:
    """Run a command to its end; if it fails, exit with its errors."""
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: exit {done.returncode}\n{done.stderr}")


def run_measured(command: Sequence[str], environ: dict[str, str]) -> tuple[float, float]:
    """Run a command to its end; return the seconds that it took, and the MiB of memory that it had at most."""
    started = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, env=environ, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    taken = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)}: exit {process.returncode}")
    return taken, usage.ru_maxrss / 1024


def milliseconds(taken: Sequence[float]) -> list[str]:
    """Return the median, the best and the worst of some seconds."""
    return [f"{value * 1000:.1f} ms" for value in (statistics.median(taken), min(taken), max(taken))]
