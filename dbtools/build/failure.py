"""What a step's failure is called: the exception of a Python program and its place, or else the last lines."""

from __future__ import annotations

import os
import re
import shlex
import signal
from typing import TYPE_CHECKING

from dbtools.build.environment import LEAD
from dbtools.db.secrets import mask
from dbtools.errors import UNCHANGED, StepFailed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dbtools.config import Project
    from dbtools.config.steps import Step

MAX_SHOWN_LINES = 12
MAX_SHOWN_CHARACTERS = 300
"""How much of a line is shown."""
_FRAME = re.compile(r'^\s+File "(.+)", line (\d+)')
_PROMPT = re.compile(
    r"EOFError|EOF when reading|[\[(]y(es)?/no?[\])]|\?\s*(\u203a.*|\[.*\]|\(.*\))?$"
    r"|\b(password|passphrase|user ?name|e-?mail|name)\b[^.]*:$",
    re.IGNORECASE,
)


def step_failed(
    step: Step,
    label: str,
    how: str,
    project: Project,
    *,
    lines: Sequence[str] | None = None,
    unfinished: bool = False,
    hint: str = "",
) -> StepFailed:
    """Return the error for a step that failed.

    `label` is its place, such as "migrate 1 of 2"; `how` a sentence that says how it ended; `lines` the last ones it
    printed, None if it never ran; `unfinished` whether the last of them had no end. `hint` replaces the usual one.
    """
    name = f"Step {label} ({step.title})" if label else f"Step {step.title}"
    said = "" if lines is None else _describe([line.rstrip() for line in lines], project, step.cwd)
    if lines and _asks(lines, unfinished=unfinished):
        how = f"It seems to have asked for input, and a step is given none. {how}"
    hint = mask(hint) or _how_to_see_more(step, project)
    return StepFailed(f"{name} failed.", mask(f"{said}{how}"), hint, UNCHANGED)


def how_it_ended(code: int) -> str:
    """Return the sentence for an exit code, negative after a signal."""
    if code >= 0:
        return f"It ended with exit code {code}."
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"It was killed by {name}{', perhaps for want of memory' if -code == signal.SIGKILL else ''}."


def _describe(lines: list[str], project: Project, cwd: Path) -> str:
    """Return what the last lines say, with a line break after it where they are quoted; "" where there are none."""
    found = _python_error(lines, project, cwd)
    if found is not None:
        summary, lines = found
        return f"{summary}\n{_quote(lines)}" if lines else f"{summary} "
    while lines and not lines[-1].strip():
        lines.pop()
    return f"Its last lines:\n{_quote(lines)}" if lines else "It printed nothing. "


def _quote(lines: list[str]) -> str:
    return "".join(f"    {line[:MAX_SHOWN_CHARACTERS]}\n" for line in lines[-MAX_SHOWN_LINES:] if line.strip())


def _python_error(lines: list[str], project: Project, cwd: Path) -> tuple[str, list[str]] | None:
    """Return the exception that ended a Python program, with its place, and the lines after it."""
    starts = [number for number, line in enumerate(lines) if line.endswith("Traceback (most recent call last):")]
    if not starts:
        return None
    frames, end = [], starts[-1] + 1
    while end < len(lines) and (lines[end].startswith(" ") or not lines[end]):
        if (found := _FRAME.match(lines[end])) and not found[1].startswith("<"):
            frames.append((cwd / found[1], found[2]))
        end += 1
    if end == len(lines) or len(lines) - end > MAX_SHOWN_LINES:
        return None  # cut off, or the program went on after it
    place = next((frame for frame in reversed(frames) if _is_own(frame[0], project)), frames[-1] if frames else None)
    where = f", at {_shown(place[0], project)}:{place[1]}" if place else ""
    # A message that begins with a line break leaves the type with a colon.
    return f"{lines[end][:MAX_SHOWN_CHARACTERS].rstrip('.: ')}{where}.", [line for line in lines[end + 1 :] if line]


def _is_own(path: Path, project: Project) -> bool:
    """Return whether a source file is the project's own, not of a package that it has installed."""
    return path.is_relative_to(project.root) and "site-packages" not in path.parts and LEAD not in path.parents


def _shown(path: Path, project: Project) -> str:
    return os.path.relpath(path, project.root) if path.is_relative_to(project.root) else str(path)


def _asks(lines: Sequence[str], *, unfinished: bool) -> bool:
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return bool(_PROMPT.search(last)) or (unfinished and last.endswith((":", "?", ">")))


def _how_to_see_more(step: Step, project: Project) -> str:
    folder = os.path.relpath(step.cwd, project.root)
    command = {
        "command": shlex.join(step.words).replace("'{url}'", '"$DATABASE_URL"'),
        "alembic": shlex.join(["alembic", *_config(step, project), "upgrade", "heads"]),
    }.get(step.kind, "")
    alone = f"; alone, with DATABASE_URL set to it: {'' if folder == '.' else f'cd {folder} && '}{command}"
    return f"invoke build --keep runs the steps and leaves the database for a look{alone if command else '.'}"


def _config(step: Step, project: Project) -> list[str]:
    return ["-c", os.path.relpath(project.root / step.words[0], step.cwd)] if step.words else []
