"""Run isolation specs, each on a throwaway server of its own, and compare the output with what is expected.

Each file has its own server because specs leave more behind than tables: roles, prepared transactions, and whatever an
aborted spec had begun. It is a PostgreSQL 16, or another one that is asked for. A spec runs as its superuser in an
empty database named isolation_regression, the name that PostgreSQL's own specs rely on.
"""

from __future__ import annotations

import difflib
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dbtools.errors import NOT_RUN, ConfigurationError, VerificationFailed
from dbtools.isolation.parser import read_spec
from dbtools.isolation.runner import run
from dbtools.server.requirements import NONE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dbtools.isolation.spec import Spec
    from dbtools.server.requirements import Requirements

DATABASE = "isolation_regression"
SETTINGS = {
    "max_prepared_transactions": "10",
    "autovacuum": "off",
    # With "off", whether VACUUM finds a page all visible depends on when its commits were flushed.
    "synchronous_commit": "on",
}
HEADINGS = ("spec", "result", "permutations", "time")


@dataclass(frozen=True)
class SpecResult:
    """The result of running one spec."""

    name: str
    result: str
    """"ok" (the output is as expected), "differs", "failed" (not run to its end), or "ran" (nothing was expected)."""
    permutations: int
    seconds: float
    output: bytes
    detail: str = ""
    """For "differs" a unified diff, for "failed" the reason."""

    @property
    def passed(self) -> bool:
        """Whether the spec ran to its end, with the expected output if there was any to compare with."""
        return self.result in ("ok", "ran")

    def row(self) -> tuple[str, ...]:
        """Return the cells of a table row under `HEADINGS`."""
        return self.name, self.result, str(self.permutations), f"{self.seconds:.2f} s"


def find_specs(arguments: Sequence[str], root: Path) -> list[Path]:
    """Return the files that the arguments name, relative to `root`. A folder stands for its *.spec, sorted by name.

    Raises:
        ConfigurationError: There are none.
    """
    files: list[Path] = []
    for argument in arguments:
        path = root / argument
        files += sorted(path.glob("*.spec")) if path.is_dir() else [path]
    if not files:
        raise ConfigurationError(
            "There is no spec to run.",
            "No file was named, or only folders without a *.spec file.",
            "For example: invoke race.spec specs/my-race.spec",
            NOT_RUN,
        )
    return files


def run_one(path: Path, write: Callable[[bytes], object], *, step_timeout: float, server: Requirements = NONE) -> int:
    """Run one spec, write its output as it comes, and return the number of permutations.

    It runs on a throwaway server that has what `server` requires.

    Raises:
        ConfigurationError: The file is not an isolation spec.
        VerificationFailed: The spec could not be run to its end.
        ServerError: The server did not start.
    """
    return _run_on_own_server(read_spec(path), write, step_timeout, server)


def run_all(
    paths: Sequence[Path],
    expected: Path | None,
    note: Callable[[str], None],
    *,
    step_timeout: float,
    server: Requirements = NONE,
) -> list[SpecResult]:
    """Run the specs one after the other and return their results; `note` is told each result as it comes.

    `expected` is the folder with the expected outputs: NAME.out, and its alternates NAME_0.out to NAME_9.out. Each spec
    runs on a throwaway server that has what `server` requires.

    A file that is not an isolation spec, or has no expected output there, fails alone.

    Raises:
        ServerError: A server did not start.
    """
    results = []
    for path in paths:
        started = time.monotonic()
        pieces: list[bytes] = []
        permutations, files, reason = 0, list[tuple[Path, bytes]](), ""
        try:
            spec = read_spec(path)
            files = _read_expected(expected, spec.name) if expected else []
            permutations = _run_on_own_server(spec, pieces.append, step_timeout, server)
        except (ConfigurationError, VerificationFailed) as error:
            reason = str(error)
        seconds = time.monotonic() - started
        output = b"".join(pieces)
        result, detail = ("failed", reason) if reason else _compare(output, files)
        results.append(SpecResult(path.stem, result, permutations, seconds, output, detail))
        note(f"{path.stem}: {result}")
    return results


def prepare_results(folder: Path, paths: Sequence[Path]) -> None:
    """Make the folder that the outputs are to be written to.

    Raises:
        ConfigurationError: It or a file in it cannot be written to, or two of the specs would write the same file.
    """
    names = Counter(path.stem for path in paths)
    twice = [str(path) for path in paths if names[path.stem] > 1]
    if twice:
        raise ConfigurationError(
            f"The results of {' and '.join(twice)} would have one name.",
            "Each output is written to NAME.out, where NAME is that of the spec without its folder.",
            "Run them one at a time, each with --results of its own.",
            NOT_RUN,
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        for path in paths:
            there = folder / f"{path.stem}.out"
            if there.exists():
                with there.open("ab"):
                    pass
    except OSError as error:
        raise ConfigurationError(
            f"The results cannot be written to {folder}.",
            f"{error.strerror}{f': {error.filename}' if error.filename != str(folder) else ''}.",
            "Name a folder that can be written to: --results FOLDER",
            NOT_RUN,
        ) from None


def _run_on_own_server(
    spec: Spec, write: Callable[[bytes], object], step_timeout: float, required: Requirements
) -> int:
    from dbtools.db.sql import quote
    from dbtools.server.throwaway import start_throwaway

    with start_throwaway(required, settings={**SETTINGS, **required.settings}, lab=True) as server:
        # This cluster has no template0; its template1 is as initdb made it.
        with server.connect_admin() as connection:
            connection.execute(f"create database {quote(DATABASE)} {server.quick_copy}")
        return run(spec, server.url_of(DATABASE, admin=True), write, step_timeout=step_timeout)


def _read_expected(folder: Path, name: str) -> list[tuple[Path, bytes]]:
    """Return the files with the expected outputs of a spec, and what each holds."""
    paths = [folder / f"{name}{suffix}.out" for suffix in ("", *(f"_{number}" for number in range(10)))]
    try:
        found = [(path, path.read_bytes()) for path in paths if path.exists()]
    except OSError as error:
        raise ConfigurationError(
            f"The expected output of the spec {name} cannot be read.",
            f"{error.strerror}: {error.filename}.",
            "Make that file readable.",
            NOT_RUN,
        ) from None
    if not found:
        raise ConfigurationError(
            f"There is no expected output of the spec {name}.",
            f"No {name}.out in {folder}.",
            f"To see its output: invoke race.spec {name}.spec",
            NOT_RUN,
        )
    return found


def _compare(output: bytes, alternates: Sequence[tuple[Path, bytes]]) -> tuple[str, str]:
    """Return the result, and the shortest of the diffs from the expected outputs where none is equal."""
    if not alternates:
        return "ran", ""
    diffs = []
    for path, content in alternates:
        if content == output:
            return "ok", ""
        diff = difflib.unified_diff(_lines(content), _lines(output), str(path), "this run", lineterm="")
        diffs.append("\n".join(diff))
    return "differs", min(diffs, key=lambda diff: diff.count("\n"))


def _lines(content: bytes) -> list[str]:
    lines = content.decode("utf-8", "backslashreplace").split("\n")
    return lines[:-1] if lines[-1] == "" else [*lines[:-1], f"{lines[-1]} (no newline at the end)"]
