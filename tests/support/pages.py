"""Console blocks of pages: their commands, what is shown under each, and whether that is what they print.

A line that is nothing but "…" stands for lines left out. `echo $?` shows the exit code of the command before it.
"""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from dbtools.build.programs import find_program

ROOT = Path(__file__).resolve().parent.parent.parent
STACKS = {
    "async-notes": ROOT / "docs" / "async-sqlalchemy.md",
    "django-clinic": ROOT / "docs" / "django.md",
    "flask-shop": ROOT / "docs" / "flask.md",
    "node-tickets": ROOT / "docs" / "node.md",
    "plain-sql": ROOT / "docs" / "sql.md",
}
"""The example that each of these pages is about, in whose folder its commands run."""
WALKS = [*STACKS.values(), ROOT / "docs" / "snapshots.md", ROOT / "docs" / "verify-concurrency.md"]
"""Pages whose commands go on from one another. They show both streams, as a terminal does."""
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted({*(ROOT / "docs").glob("*.md")} - {*WALKS})]
"""All other pages: each command has an empty database."""
# Not run: the clone this is, and the checks this is one of.
SKIPPED = ("git clone", "scripts/dev nox")
HANG_S = 600
"""Seconds after which a command hangs: far more than the slowest takes on a busy machine."""
VARYING = (
    (
        r"^(Without the lock|Bare, at once|A reader beside them):.*",
        lambda found: re.sub(r"[1-9]\d*", "N", found[0]),
    ),  # how often processes collided, how often was read
    (r"\b[0-9a-f]{16}\b", "KEY"),
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d\+00:00| UTC)", "TIME"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", "TIME"),
    (r'"pid": \d+', "PID"),
    (r"TIME by \w+", "TIME by SOMEBODY"),
    (r"\d+ bytes|PostgreSQL \d+\.\d+", ""),
    (r"\b(dbtools_test_[0-9a-f]{8}_\d+|test_[0-9a-f]{8,12})\b", "app"),  # the database
    (r"\d+\.\d+ s| {2,}|-{2,}| $", ""),  # seconds, widths of columns
)
"""What differs from run to run, and what stands for it."""


@dataclass(frozen=True)
class Command:
    """A command of a page, and what is shown of it."""

    page: str
    text: str
    shown: str
    code: int = 0

    def __str__(self) -> str:
        return f"{self.page}: {self.text[:60]}"


def commands(page: Path) -> list[Command]:
    found: list[Command] = []
    for block in blocks(page, "console"):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            text, _, shown = part.partition("\n")
            if text == "echo $?":
                before = found.pop()
                found.append(Command(before.page, before.text, before.shown, int(shown)))
            elif not text.startswith(SKIPPED):
                found.append(Command(page.name, text, shown))
    return found


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def run(command: str, folder: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the shell; psql is on its path."""
    programs = f"{environment.pop('PATH', os.environ['PATH'])}:{find_program('psql', 16).parent}"
    return subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env={**os.environ, "PATH": programs, **environment},
        text=True,
        capture_output=True,
        timeout=HANG_S,
    )


def walk(page: Path, folder: Path, **environment: str) -> None:
    """Run a page's commands in a folder, one after the other."""
    for command in commands(page):
        done = run(f"{{ {command.text}\n}} 2>&1", folder, **environment)
        check(command, done, done.stdout)


def check(command: Command, done: subprocess.CompletedProcess[str], printed: str) -> None:
    assert done.returncode == command.code, done.stdout + done.stderr
    assert re.fullmatch(_pattern(command.shown), _steady(printed)), f"shown:\n{command.shown}\nprinted:\n{printed}"


def _steady(text: str) -> str:
    for varying, instead in VARYING:
        text = re.sub(varying, instead, text, flags=re.MULTILINE)
    return text


def _pattern(shown: str) -> str:
    lines = _steady(shown).splitlines(keepends=True)
    return "".join(r"(?:.*\n)*?" if line == "…\n" else re.escape(line) for line in lines)
