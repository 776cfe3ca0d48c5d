"""Run isolation specs, each on a throwaway server of its own, and compare their output with what is expected.

A server per file, because specs leave more behind than tables: roles, prepared transactions, and whatever one that
broke off had begun. It is the embedded PostgreSQL 16; a spec runs as its superuser in an empty database named
isolation_regression, the name that PostgreSQL's own specs know theirs by.
"""

from __future__ import annotations

import difflib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dbtools.errors import NOT_RUN, ConfigurationError, VerificationFailed
from dbtools.isolation import parser as specfile
from dbtools.isolation import runner

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

DATABASE = "isolation_regression"
SETTINGS = {
    "max_prepared_transactions": "10",
    "autovacuum": "off",
    # With "off", whether VACUUM finds a page all visible depends on when its commits were flushed.
    "synchronous_commit": "on",
}
HEADINGS = ("spec", "result", "permutations", "time")


@dataclass(frozen=True)
class Outcome:
    """One file's run."""

    name: str
    result: str
    """"ok" (the output is an expected one), "differs", "failed" (not run to its end), or "ran" (nothing expected)."""
    permutations: int
    seconds: float
    output: bytes
    detail: str = ""
    """A unified diff, or why it failed."""

    @property
    def good(self) -> bool:
        """Whether nothing is wrong with it."""
        return self.result in ("ok", "ran")

    def row(self) -> tuple[str, ...]:
        """Return the line of a table under `HEADINGS`."""
        return self.name, self.result, str(self.permutations), f"{self.seconds:.2f} s"


def find(arguments: Sequence[str], root: Path) -> list[Path]:
    """Return the files that the arguments name: a folder stands for its *.spec, sorted by name.

    Raises:
        ConfigurationError: There is none.
    """
    files: list[Path] = []
    for argument in arguments:
        path = root / argument
        files += sorted(path.glob("*.spec")) if path.is_dir() else [path]
    if not files:
        raise ConfigurationError(
            "There is no spec to run.",
            "No file was named, or a folder that has no *.spec.",
            "For example: invoke race.spec tests/data/isolation/write-skew.spec",
            NOT_RUN,
        )
    return files


def run_one(path: Path, write: Callable[[bytes], object], *, step_timeout: float) -> int:
    """Run a file, write its output as it comes, and return the number of permutations.

    Raises:
        ConfigurationError: The file is not an isolation spec.
        VerificationFailed: It could not be run to its end.
    """
    return _run(specfile.read(path), write, step_timeout)


def run_all(
    paths: Sequence[Path], expected: Path | None, note: Callable[[str], None], *, step_timeout: float
) -> list[Outcome]:
    """Run the files one after the other; `expected` is the folder of NAME.out and of its alternates, NAME_1.out ...

    Raises:
        ConfigurationError: A file is not an isolation spec, or has no expected output there; nothing was run.
    """
    specs = [specfile.read(path) for path in paths]
    wanted = [_expected(expected, spec.name) if expected else [] for spec in specs]
    outcomes = []
    for spec, alternates in zip(specs, wanted, strict=True):
        started = time.monotonic()
        pieces: list[bytes] = []
        count, why = 0, ""
        try:
            count = _run(spec, pieces.append, step_timeout)
        except VerificationFailed as error:
            why = str(error)
        output = b"".join(pieces)
        result, detail = ("failed", why) if why else _judge(output, alternates)
        outcomes.append(Outcome(spec.name, result, count, time.monotonic() - started, output, detail))
        note(f"{spec.name}: {result}")
    return outcomes


def _run(spec: specfile.Spec, write: Callable[[bytes], object], step_timeout: float) -> int:
    from dbtools.db.sql import quote
    from dbtools.server.embedded import EmbeddedServer

    with EmbeddedServer.start(settings=SETTINGS) as server:
        # This cluster has no template0; its template1 is as initdb made it.
        with server.connect_admin() as connection:
            connection.execute(f"create database {quote(DATABASE)} strategy file_copy")
        return runner.run(spec, server.url_of(DATABASE, admin=True), write, step_timeout=step_timeout)


def _expected(folder: Path, name: str) -> list[Path]:
    paths = [folder / f"{name}{alternate}.out" for alternate in ("", *(f"_{number}" for number in range(10)))]
    found = [path for path in paths if path.is_file()]
    if not found:
        raise ConfigurationError(
            f"There is no expected output of the spec {name}.",
            f"No {name}.out in {folder}.",
            f"To see its output: invoke race.spec {name}.spec",
            NOT_RUN,
        )
    return found


def _judge(output: bytes, alternates: Sequence[Path]) -> tuple[str, str]:
    if not alternates:
        return "ran", ""
    diffs = []
    for path in alternates:
        content = path.read_bytes()
        if content == output:
            return "ok", ""
        lines = difflib.unified_diff(_lines(content), _lines(output), str(path), "this run", lineterm="")
        diffs.append("\n".join(lines))
    return "differs", min(diffs, key=lambda diff: diff.count("\n"))


def _lines(content: bytes) -> list[str]:
    lines = content.decode("utf-8", "backslashreplace").split("\n")
    return lines[:-1] if lines[-1] == "" else [*lines[:-1], f"{lines[-1]} (no newline at the end)"]
