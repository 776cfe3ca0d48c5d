"""The task that runs isolation specs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from invoke.tasks import task

from dbtools import config, console
from dbtools.commands.common import handle_errors, option_help
from dbtools.errors import VerificationFailed

if TYPE_CHECKING:
    from invoke.context import Context


@task(
    auto_shortflags=False,
    iterable=["file"],
    help=option_help(
        "json",
        "debug",
        file="A spec, or a folder of them; --file may be left out",
        expected="Compare with the outputs in this folder, NAME.out or NAME_1.out ...; exit code 6 if it differs",
        results="Write each output to NAME.out in this folder",
        **{"step-timeout": "Seconds after which a step is cancelled (default 360)"},
    ),
)
@handle_errors
def spec(
    _context: Context,
    file: list[str],
    expected: str = "",
    results: str = "",
    step_timeout: str = "",
    json: bool = False,
    debug: bool = False,
) -> None:
    """Run files in PostgreSQL's isolation-spec language; print what its isolation tester would.

    Each file runs as superuser on a throwaway PostgreSQL 16 of its own, never on DATABASE_URL. One file's output goes
    to standard output as it is; for several, and with --expected, a table of the results and what differs. All words
    after the task's name are its own: no other task can follow.

        invoke race.spec tests/data/isolation/write-skew.spec
        invoke race.spec postgresql/src/test/isolation/specs --expected postgresql/src/test/isolation/expected
    """
    from dbtools.isolation import suite as conformance

    seconds = config.parse_number("--step-timeout", step_timeout, low=1, whole=False) if step_timeout else 360.0
    paths = conformance.find(file, Path.cwd())
    if len(paths) == 1 and not (expected or results or json):
        conformance.run_one(paths[0], _write, step_timeout=seconds)
        return
    out = console.Console(quiet=json)
    outcomes = conformance.run_all(paths, Path(expected) if expected else None, out.note, step_timeout=seconds)
    for one in outcomes:
        if results:
            Path(results).mkdir(parents=True, exist_ok=True)
            (Path(results) / f"{one.name}.out").write_bytes(one.output)
        if one.detail:
            out.say(f"{one.name}:\n{one.detail}\n")
    bad = [one.name for one in outcomes if not one.good]
    out.say(console.table(conformance.HEADINGS, [one.row() for one in outcomes]))
    out.say(f"\n{len(outcomes) - len(bad)} of {len(outcomes)} specs {'as expected' if expected else 'run to the end'}.")
    if json:
        shown = ("name", "result", "permutations", "seconds", "detail")
        out.data({"specs": [{name: getattr(one, name) for name in shown} for one in outcomes]})
    if bad:
        raise VerificationFailed(
            f"{len(bad)} of {len(outcomes)} specs failed or differ from what is expected.",
            f"{', '.join(bad)}.",
            "To see the whole output of one: invoke race.spec FILE",
        )


def _write(piece: bytes) -> None:
    sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()


def name_files(words: list[str]) -> None:
    """Put --file before each file of `race.spec FILE...`: Invoke would take them for tasks."""
    start = words.index("race.spec") + 1 if "race.spec" in words else len(words)
    named: list[str] = []
    for word in words[start:]:
        if not word.startswith("-") and named[-1:] not in (
            ["--file"],
            ["--expected"],
            ["--results"],
            ["--step-timeout"],
        ):
            named.append("--file")
        named.append(word)
    words[start:] = named
