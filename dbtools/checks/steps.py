"""Are the steps there, and could they be started? Nothing of the project is run or imported."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dbtools.build.child import sql_files
from dbtools.build.environment import LEAD, fill_words, step_environment
from dbtools.build.hints import NO_REVISION
from dbtools.build.inputs import list_inputs
from dbtools.build.interpreter import find_interpreter
from dbtools.checks.findings import Finding
from dbtools.db.dsn import Dsn
from dbtools.errors import ConfigurationError, StepFailed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dbtools.build.builder import Builder
    from dbtools.config import Project
    from dbtools.config.steps import Step

NOWHERE = Dsn.parse("postgresql://nobody@127.0.0.1:1/nowhere", source="the doctor's URL")
"""Where programs that look at a step are led: they have no business with any database."""
CANNOT_BE_LED = 70
"""How a Python ends that is too old, or in which a driver cannot be led."""
MARK = "dbtools: "
"""What the line begins with on which such a program tells what it saw; others may print too."""
LOOK_S = 60.0
"""How long such a program may take."""
INSTALL = "Correct the step in [tool.dbtools], or install what it needs."


@dataclass
class History:
    """Alembic's revisions, as their files name them."""

    revisions: set[str] = field(default_factory=set)
    heads: list[str] = field(default_factory=list)


class _Problem(Exception):
    """Why a step could not be started, in the words of the build; and what to do.

    `is_local`: it lies in the project's files, which a step before it may change.
    """

    def __init__(self, why: str, hint: str = INSTALL, *, in_doubt: bool = False, is_local: bool = True) -> None:
        super().__init__(why)
        self.why = why
        self.hint = hint
        self.in_doubt = in_doubt
        self.is_local = is_local


def examine_steps(builder: Builder, fitting: int) -> tuple[list[Finding], History | None]:
    """Return a finding for each step, and the history of Alembic's steps, None where it is not known.

    The steps of the first `fitting` levels need not run for a reset, so what they lack does not stop one.
    """
    project, findings, told = builder.project, [], []
    may_write = False
    try:
        interpreter = find_interpreter(project, builder.environ)
    except ConfigurationError as error:
        return [Finding.of("python", error, stops=fitting < len(builder.levels))], None
    for number, level in enumerate(builder.levels):
        for place, step in enumerate(level.steps, 1):
            label = f"{level.role} {place} of {len(level.steps)}"
            name = f"{label} ({step.title})"
            try:
                detail, seen = _look_at(step, label, project, interpreter, builder.environ)
            except _Problem as problem:
                needed, doubt = number >= fitting, problem.in_doubt or (problem.is_local and may_write)
                passed = False if needed and not doubt else None
                findings.append(Finding(name, passed, problem.why, hint=problem.hint, in_doubt=needed and doubt))
            else:
                findings.append(Finding(name, True, detail))
                told += [seen] if step.kind == "alembic" else []
            may_write = may_write or (number >= fitting and step.kind in ("command", "call"))
    return [*findings, *_inputs(builder, needed=fitting < len(builder.levels))], _history(told)


def _inputs(builder: Builder, *, needed: bool) -> Iterator[Finding]:
    """Yield what is wrong with the patterns of [tool.dbtools] inputs, if anything is."""
    try:
        if builder.project.inputs is not None:
            list_inputs(builder.project.root, builder.project.inputs, builder.environ)
    except ConfigurationError as error:
        yield Finding.of("inputs", error, stops=needed)


def _look_at(
    step: Step, label: str, project: Project, interpreter: Path, environ: Mapping[str, str]
) -> tuple[str, dict[str, Any]]:
    """Return what a step would run, in words and as the program that looked at it told."""
    if not step.cwd.is_dir():
        raise _Problem(f"Its folder {step.cwd} does not exist.")
    if step.kind == "sql":
        try:
            files = sql_files(step, project, label)
        except StepFailed as error:
            raise _Problem(error.why, error.hint) from None
        return f"{len(files)} file{'s' * (len(files) != 1)}", {}
    variables = step_environment(step, NOWHERE, project, interpreter, environ, mark="doctor")
    if step.kind == "command":
        (program,) = fill_words(step.words[:1], NOWHERE, environ, (step.cwd, project.root))
        path = variables["PATH"].removeprefix(f"{LEAD / 'bin'}{os.pathsep}")  # those there run the one that comes next
        return f"runs {_shown(_find_program(program, step.cwd, path), project)}", {}
    words = [os.path.relpath(project.root / word, step.cwd) for word in step.words]
    seen = _look(interpreter, step.kind, words if step.kind == "alembic" else [*step.words], step.cwd, variables)
    if problem := seen.get("error"):
        python = f'It would run in {interpreter}. If that is the wrong one: [tool.dbtools] python = ".venv/bin/python"'
        raise _Problem(f"{problem.rstrip('.')}.", python if "No module named" in problem else INSTALL)
    where = f"in {_shown(interpreter, project)} (Python {seen['python']})"
    if step.kind == "call":
        return f"{_shown(Path(seen['file']), project) if seen.get('file') else 'found'}, {where}", seen
    revisions, folder = seen["history"] and len(seen["history"]["revisions"]), _shown(Path(seen["folder"]), project)
    if revisions == 0:
        raise _Problem(f"Alembic finds no revision in {folder}.", NO_REVISION, in_doubt=True)  # another step may do
    count = "revisions" if revisions is None else f"{revisions} revision{'s' * (revisions != 1)}"
    return f"{count} in {folder}, Alembic {seen['version']} {where}", seen


def _find_program(program: str, cwd: Path, path: str) -> Path:
    """Return the file that a step's program would be, as the kernel finds it."""
    folders = [""] if os.sep in program else path.split(os.pathsep)
    found = [place for folder in folders if (place := cwd / folder / program).is_file()]
    if not found:
        missing = "does not exist" if os.sep in program else "was not found on PATH"
        raise _Problem(f"{program} {missing}.", is_local=os.sep in program)
    runs = [place for place in found if os.access(place, os.X_OK)]
    if not runs:
        raise _Problem(f"{program}: Permission denied.", f"chmod +x {found[0]}")
    return runs[0]


def _look(interpreter: Path, kind: str, words: list[str], cwd: Path, variables: Mapping[str, str]) -> dict[str, Any]:
    """Have the project's interpreter look at a step; return what it told."""
    command = [str(interpreter), str(LEAD / "look.py"), MARK, kind, *words]
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env={**variables, "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=LOOK_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        what = f"{interpreter} did not tell in {LOOK_S:.0f} s what it would run."
        raise _Problem(what, "To see what it does: invoke doctor --build", in_doubt=True) from None
    except OSError as error:
        raise _Problem(f"{interpreter} cannot be run: {error.strerror}.") from None
    for line in reversed(done.stdout.splitlines()):
        if line.startswith(MARK):
            found: dict[str, Any] = json.loads(line.removeprefix(MARK))
            return found
    said = done.stderr.strip().splitlines()[-1:] or [f"It ended with exit code {done.returncode}."]
    raise _Problem(said[0], f"It would run in {interpreter}.", in_doubt=done.returncode != CANNOT_BE_LED)


def _history(told: list[dict[str, Any]]) -> History | None:
    """Return the history of all Alembic steps together, None where there is none or one of them is not known."""
    if not told or not all(seen["history"] for seen in told):
        return None
    return History(
        {revision for seen in told for revision in seen["history"]["revisions"]},
        [head for seen in told for head in seen["history"]["heads"]],
    )


def _shown(path: Path, project: Project) -> str:
    return os.path.relpath(path, project.root) if path.is_relative_to(project.root) else str(path)
