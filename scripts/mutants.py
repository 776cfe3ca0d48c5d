"""Apply each mutant of the lists in tests/mutants to a copy of the project, and run the tests that have to notice it.

    nox -s mutants                        all of them, two at a time
    nox -s mutants -- -k lock             those whose list, text or reason holds "lock"

A list is a TOML file. Each of its tables names one module (`file`), the tests that guard it (`tests`, as pytest takes
them) and its mutants: the old text, which the module holds exactly once, the new text, and, where no test can or need
notice the change, the reason. The exit code is 1 where a mutant without a reason survives, where one with a reason does
not, where a text is not found, and where the tests fail without any mutant.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import queue
import shutil
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
LISTS = ROOT / "tests/mutants"
WORKERS = 2
LIMIT_S = 180.0
"""For one run of the tests. A mutant that makes them hang is noticed, too."""
NO_MUTANT = ""


@dataclass(frozen=True)
class Mutant:
    """One change of one module; without one where `old` is empty."""

    group: str
    file: str
    tests: tuple[str, ...]
    old: str = NO_MUTANT
    new: str = NO_MUTANT
    survives: str = ""
    """Why no test notices it."""

    def __str__(self) -> str:
        old, new = (" ".join(text.split()) for text in (self.old, self.new))
        return f"{self.group}: {old} -> {new or 'nothing'}" if self.old else f"{self.group}: without a mutant"

    @property
    def wanted(self) -> str:
        """The result that is no news."""
        return "survived" if self.survives or not self.old else "killed"

    def apply(self, text: str) -> str:
        """Return the module's text with the change; a ValueError says why there is none."""
        if text.count(self.old) != 1:
            raise ValueError(f"found {text.count(self.old)} times")
        changed = text.replace(self.old, self.new)
        compile(changed, self.file, "exec")
        return changed


def main() -> int:
    """Run them, print a line for each and the sums, and return the exit code."""
    parser = argparse.ArgumentParser(description="Apply mutants and run the tests that have to notice them.")
    parser.add_argument("-k", dest="word", default="", help="only those whose list, text or reason holds this")
    word = parser.parse_args().word
    mutants = [found for found in read() if word.lower() in f"{found} {found.survives}".lower()]
    whole = dict.fromkeys(Mutant("tests", "", found.tests) for found in mutants)
    counts = Counter[str]()
    news = []
    with tempfile.TemporaryDirectory(prefix="dbtools-mutants-") as folder, ThreadPoolExecutor(WORKERS) as threads:
        copies: queue.Queue[Path] = queue.Queue()
        for number in range(WORKERS):
            copies.put(copy_project(Path(folder) / str(number)))
        planned = [*whole, *mutants]
        for mutant, (result, why) in zip(planned, threads.map(lambda one: run(one, copies), planned), strict=True):
            counts[result] += bool(mutant.old)
            as_wanted = result == mutant.wanted
            if mutant.old or not as_wanted:
                print(f"{' ' if as_wanted else '!'} {result:8} {mutant}{f' ({why})' if why else ''}", flush=True)
            if not as_wanted:
                news.append(mutant)
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


def copy_project(folder: Path) -> Path:
    """Copy what git knows of, and what it does not know of yet."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


def run(mutant: Mutant, copies: queue.Queue[Path]) -> tuple[str, str]:
    """Run the tests on a copy with the change, and return the result and a remark."""
    copy = copies.get()
    path = copy / mutant.file
    original = path.read_text("utf-8") if mutant.old else ""
    try:
        if mutant.old:
            path.write_text(mutant.apply(original), "utf-8")
        return run_tests(copy, mutant.tests)
    except (ValueError, SyntaxError) as error:
        return "broken", str(error)
    finally:
        if mutant.old:
            path.write_text(original, "utf-8")
        copies.put(copy)


def run_tests(folder: Path, tests: tuple[str, ...]) -> tuple[str, str]:
    """Run pytest in a folder, to the first failure."""
    # No compiled modules: a change of the same length in the same second would be taken for the old text.
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(folder)}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    began = time.monotonic()
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        output, _ = process.communicate(timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return "killed", f"hung for {LIMIT_S:.0f} s"
    took = f"{time.monotonic() - began:.0f} s"
    failed = [line.partition(" - ")[0] for line in output.splitlines() if line.startswith(("FAILED", "ERROR"))]
    if process.returncode < 0:
        return "killed", f"pytest died of signal {-process.returncode}"
    match process.returncode:
        case 0:
            return "survived", took
        case 1:
            return "killed", f"{took}, {failed[0].partition(' ')[2] if failed else 'a test failed'}"
    return "broken", f"pytest ended with {process.returncode}: {failed[0] if failed else output[-300:]}"


if __name__ == "__main__":
    sys.exit(main())
