"""The pages hold: every command in their console blocks runs, and prints what is shown under it.

A line that is nothing but "…" stands for lines left out. `echo $?` shows the exit code of the command before it. Each
command has an empty database; those of a walk run one after the other, in a copy of the example.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from dbtools.build.programs import find_program

ROOT = Path(__file__).resolve().parent.parent.parent
EXAMPLE = ROOT / "examples" / "async-notes"
WALKS = [EXAMPLE / "README.md", ROOT / "docs" / "snapshots.md"]
"""Pages whose commands go on from one another. They show both streams, as a terminal does."""
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted({*(ROOT / "docs").glob("*.md")} - {*WALKS})]
# Not run here: the clone this is, and the checks this is one of.
SKIPPED = ("git clone", "scripts/dev nox")
HANG_S = 600
"""Seconds after which a command hangs: far more than the slowest takes on a busy machine."""
TABLE = "create table items (id int primary key, name text, price numeric)"
VARYING = (
    (r"^Without the lock:.*", lambda found: re.sub(r"\d+", "N", found[0])),  # how often processes collided
    (r"\b[0-9a-f]{16}\b", "KEY"),
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d\+00:00| UTC)", "TIME"),
    (r"TIME by \w+", "TIME by SOMEBODY"),
    (r"\d+ bytes|PostgreSQL \d+\.\d+", ""),
    (r"\bdbtools_test_[0-9a-f]{8}_\d+\b", "app"),  # the database
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


def steady(text: str) -> str:
    for varying, instead in VARYING:
        text = re.sub(varying, instead, text, flags=re.MULTILINE)
    return text


def pattern(shown: str) -> str:
    lines = steady(shown).splitlines(keepends=True)
    return "".join(r"(?:.*\n)*?" if line == "…\n" else re.escape(line) for line in lines)


def run(command: str, folder: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    programs = f"{os.environ['PATH']}:{find_program('psql', 16).parent}"
    return subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env={**os.environ, "PATH": programs, **environment},
        text=True,
        capture_output=True,
        timeout=HANG_S,
    )


def check(command: Command, done: subprocess.CompletedProcess[str], printed: str) -> None:
    assert done.returncode == command.code, done.stdout + done.stderr
    assert re.fullmatch(pattern(command.shown), steady(printed)), f"shown:\n{command.shown}\nprinted:\n{printed}"


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("command", [command for page in PAGES for command in commands(page)], ids=str)
def test_every_command_runs_and_prints_what_is_shown(command: Command, pg_database: str) -> None:
    done = run(command.text, DATABASE_URL=pg_database)
    check(command, done, done.stdout if command.code == 0 else done.stdout + done.stderr)


@pytest.mark.parametrize("page", WALKS, ids=lambda page: page.name)
def test_a_walk_can_be_walked(page: Path, pg_database: str, tmp_path: Path) -> None:
    folder = tmp_path / EXAMPLE.name
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns(".dbtools", "__pycache__"))
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    for command in commands(page):
        done = run(f"{{ {command.text}\n}} 2>&1", folder, PATH=path, PYTHONPATH=str(ROOT), DATABASE_URL=pg_database)
        check(command, done, done.stdout)


def test_the_two_commands_are_the_first_screen() -> None:
    readme = PAGES[0].read_text("utf-8")
    head = readme[: readme.index("\n## ")]
    assert "$ scripts/dev invoke reset" in head
    assert "$ scripts/dev nox\n" in head


def test_the_race_of_the_race_lab_page_is_found(tmp_path: Path) -> None:
    page = ROOT / "docs" / "race-lab.md"
    (scenario,) = blocks(page, "toml")
    (worker,) = [block for block in blocks(page, "python") if block.startswith("import sys")]
    (tmp_path / "my-race.toml").write_text(scenario.replace("worker.py", str(tmp_path / "worker.py")), "utf-8")
    (tmp_path / "worker.py").write_text(worker, "utf-8")
    done = run(f"scripts/dev invoke race.explore {tmp_path}/my-race.toml")
    assert done.returncode == 6, done.stderr
    assert "✗ my-race: violated. no serial order, with 1 switch." in done.stdout


def test_the_project_of_the_adoption_page_works(tmp_path: Path, pg_database: str) -> None:
    page = ROOT / "docs" / "adoption.md"
    tasks, application, _ = blocks(page, "python")
    (table,) = [block for block in blocks(page, "toml") if "rows =" in block]
    for name, text in {
        "tasks.py": tasks,
        "pyproject.toml": table,
        "shop/seed.py": application,
        "db/001.sql": f"{TABLE} ;",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, "utf-8")
    command = f'for task in reset doctor; do "{sys.executable}" -m invoke $task || exit; done'
    done = run(command, tmp_path, DATABASE_URL=pg_database, PYTHONPATH=str(ROOT))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "✓ Created 3 items\n" in done.stdout
    assert "✓ no price is negative: holds\n" in done.stdout
