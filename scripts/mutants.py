"""Apply each mutant of the lists in tests/mutants to a copy of the project, and run the tests that have to notice it.

    nox -s mutants                        all of them, two at a time
    nox -s mutants -- -k lock             those whose list, text or reason holds "lock"; -k again for more of them

A list is a TOML file. Each of its tables names a module (`file`), the tests that guard it (`tests`, as pytest takes
them) and its mutants: the old text, which the module holds exactly once; the new text; and, where no test can or need
notice the change, the reason. The exit code is 1 where a mutant without a reason survives, where one with a reason does
not, where a text is not found, and where the tests fail without any mutant.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import queue
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from scripts.tracked import copy_tracked  # noqa: E402 - found through the line above

LISTS = ROOT / "tests/mutants"
WORKERS = 2
BASELINE_LIMIT_S = 300.0
"""For the tests without a mutant."""
GRACE_S = 30.0
"""Tests hang, and have noticed their mutant, once they take three times as long as without it, and this much more."""


@dataclass(frozen=True)
class Mutant:
    """One change of one module."""

    group: str
    file: str
    tests: tuple[str, ...]
    old: str
    new: str
    survives: str = ""
    """Why no test notices it."""

    def __str__(self) -> str:
        old, new = (" ".join(text.split()) for text in (self.old, self.new))
        return f"{self.group}: {old} -> {new or 'nothing'}"

    def apply(self, text: str) -> str:
        """Return the module's text with the change.

        Raises:
            ValueError: The old text is not there exactly once.
            SyntaxError: The changed module is no Python.
        """
        if text.count(self.old) != 1:
            raise ValueError(f"its text is there {text.count(self.old)} times")
        changed = text.replace(self.old, self.new)
        compile(changed, self.file, "exec")
        return changed


class Copies:
    """Copies of the project, each used by one run of tests at a time."""

    def __init__(self, folder: Path, count: int) -> None:
        self._free: queue.Queue[Path] = queue.Queue()
        for number in range(count):
            self._free.put(copy_tracked(folder / str(number), "--cached", "--others", "--exclude-standard"))

    def run(self, tests: tuple[str, ...], limit: float, mutant: Mutant | None = None) -> tuple[str, str, float]:
        """Run the tests on a copy with the mutant; return what became of it, a remark, and the seconds it took."""
        copy = self._free.get()
        try:
            if mutant is None:
                return _run_tests(copy, tests, limit)
            path = copy / mutant.file
            original = path.read_text("utf-8")
            try:
                path.write_text(mutant.apply(original), "utf-8")
                return _run_tests(copy, tests, limit)
            except (ValueError, SyntaxError) as error:
                return "broken", str(error), 0.0
            finally:
                path.write_text(original, "utf-8")
        finally:
            self._free.put(copy)


def main() -> int:
    """Run them, print a line for each and the sums, and return the exit code."""
    parser = argparse.ArgumentParser(description="Apply mutants and run the tests that have to notice them.")
    parser.add_argument("-k", dest="words", action="append", help="only those whose list, text or reason holds this")
    words = [word.lower() for word in parser.parse_args().words or [""]]
    mutants = [one for one in read() if any(word in f"{one} {one.survives}".lower() for word in words)]
    with tempfile.TemporaryDirectory(prefix="dbtools-mutants-") as folder, ThreadPoolExecutor(WORKERS) as threads:
        copies = Copies(Path(folder), WORKERS)
        every = list(dict.fromkeys(mutant.tests for mutant in mutants))
        limits: dict[tuple[str, ...], float] = {}
        for tests, (result, why, took) in zip(
            every, threads.map(lambda tests: copies.run(tests, BASELINE_LIMIT_S), every), strict=True
        ):
            if result != "survived":
                print(f"! {' '.join(tests)} fail without a mutant: {why}")
                return 1
            limits[tests] = GRACE_S + 3 * took
        counts, news = Counter[str](), list[Mutant]()
        results = threads.map(lambda mutant: copies.run(mutant.tests, limits[mutant.tests], mutant), mutants)
        for mutant, (result, why, took) in zip(mutants, results, strict=True):
            counts[result] += 1
            as_listed = result == ("survived" if mutant.survives else "killed")
            print(
                f"{' ' if as_listed else '!'} {result:8} {took:3.0f} s {mutant}{f' ({why})' if why else ''}", flush=True
            )
            news += [] if as_listed else [mutant]
    print(f"\n{len(mutants)} mutants: {', '.join(f'{count} {result}' for result, count in counts.items())}")
    for mutant in news:
        print(f"Not as listed: {mutant}")
    return 1 if news or not mutants else 0


def read() -> list[Mutant]:
    """Return the mutants of all lists."""
    found = []
    for path in sorted(LISTS.glob("*.toml")):
        for group, table in tomllib.loads(path.read_text("utf-8")).items():
            found += [Mutant(group, table["file"], tuple(table["tests"]), *texts) for texts in table["mutants"]]
    return found


def _run_tests(folder: Path, tests: tuple[str, ...], limit: float) -> tuple[str, str, float]:
    """Run pytest in a folder, to the first failure."""
    # No compiled modules: a change of the same length in the same second would be taken for the old text.
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(folder)}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    began = time.monotonic()
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return "killed", "its tests hang", time.monotonic() - began
    took = time.monotonic() - began
    failed = [line.partition(" - ")[0] for line in output.splitlines() if line.startswith(("FAILED", "ERROR"))]
    if process.returncode < 0:
        return "killed", f"pytest ended with signal {-process.returncode}", took
    if process.returncode > 1:  # it did not come to run tests
        return "broken", f"pytest ended with {process.returncode}: {failed[0] if failed else output[-300:]}", took
    if process.returncode == 1:
        return "killed", failed[0].partition(" ")[2] if failed else "a test failed", took
    return "survived", "", took


if __name__ == "__main__":
    sys.exit(main())
