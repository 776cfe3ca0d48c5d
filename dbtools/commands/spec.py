"""The task that runs isolation specs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from dbtools import config, console
from dbtools.commands.common import handle_errors, option_help, task
from dbtools.errors import VerificationFailed

if TYPE_CHECKING:
    from invoke.context import Context

_WITH_VALUE = {
    "race.spec": ("--file", "--expected", "--results", "--server", "--setting", "--step-timeout"),
    "race.merge": ("--file",),
}
"""The tasks that take any number of files, and those of their options that take a value."""


@task(
    auto_shortflags=False,
    iterable=["file", "setting"],
    help=option_help(
        "json",
        "debug",
        file="A spec, or a folder of specs; --file itself may be left out",
        expected="Compare with the outputs in this folder, NAME.out or NAME_1.out ...; exit code 6 if one differs",
        results="Write each output to NAME.out in this folder",
        server="Major version of the throwaway PostgreSQL, or a folder of its programs (default 16)",
        setting="A setting of that server, NAME=VALUE; may be given several times",
        **{"step-timeout": "Seconds after which a step is cancelled (default 360)"},
    ),
)
@handle_errors
def spec(
    _context: Context,
    file: list[str],
    setting: list[str],
    expected: str = "",
    results: str = "",
    server: str = "",
    step_timeout: str = "",
    json: bool = False,
    debug: bool = False,
) -> None:
    """Run specs in PostgreSQL's isolation language.

    Prints what its isolation tester would print. Each file runs as superuser on a throwaway PostgreSQL of its own,
    never on DATABASE_URL. The output of a single file goes to standard output as it is. Several files, or --expected,
    give a table of the results, and the differences. Every word after the task's name is read as a file or an option,
    so no other task can follow.

        invoke race.spec specs/my-race.spec
        invoke race.spec isolation/specs --expected isolation/expected
        invoke race.spec slots.spec --server 17 --setting wal_level=logical
    """
    from dbtools.isolation import suite
    from dbtools.isolation.runner import STEP_TIMEOUT_S
    from dbtools.server.requirements import Requirements, parse_settings
    from dbtools.server.sources import narrowed

    seconds = STEP_TIMEOUT_S
    if step_timeout:
        seconds = config.parse_number("--step-timeout", step_timeout, low=1, whole=False)
    required = narrowed(Requirements(settings=parse_settings(setting)), server)
    paths = suite.find_specs(file, Path.cwd())
    if len(paths) == 1 and not (expected or results or json):
        suite.run_one(paths[0], _write, step_timeout=seconds, server=required)
        return
    out = console.Console(quiet=json)
    if results:
        suite.prepare_results(Path(results), paths)
    spec_results = suite.run_all(
        paths, Path(expected) if expected else None, out.note, step_timeout=seconds, server=required
    )
    for result in spec_results:
        if results:
            (Path(results) / f"{result.name}.out").write_bytes(result.output)
        if result.detail:
            out.say(f"{result.name}:\n{result.detail}\n")
    count, failed = len(spec_results), [result.name for result in spec_results if not result.passed]
    out.say(console.table(suite.HEADINGS, [result.row() for result in spec_results]))
    out.say(f"\n{count - len(failed)} of {count} specs {'as expected' if expected else 'run to the end'}.")
    if json:
        fields = ("name", "result", "permutations", "seconds", "detail")
        out.data({"specs": [{name: getattr(result, name) for name in fields} for result in spec_results]})
    if failed:
        raise VerificationFailed(
            f"{len(failed)} of {count} specs failed or differ from what is expected.",
            f"{', '.join(failed)}.",
            "To see the whole output of a spec: invoke race.spec FILE",
        )


def _write(piece: bytes) -> None:
    sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()


def insert_file_options(arguments: list[str]) -> None:
    """Make `race.spec FILE...` and `race.merge FILE...` work: insert --file before each file on the command line.

    Invoke has no positional arguments of any number; it would take the files for the names of further tasks.
    """
    task = next((argument for argument in arguments if argument in _WITH_VALUE), None)
    if task is None:
        return
    start = arguments.index(task) + 1
    named: list[str] = []
    for argument in arguments[start:]:
        is_value = bool(named) and named[-1] in _WITH_VALUE[task]
        if not argument.startswith("-") and not is_value:
            named.append("--file")
        named.append(argument)
    arguments[start:] = named
