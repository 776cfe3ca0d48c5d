"""The pages hold: every command in their console blocks runs, on an empty database, and prints what is shown under it.

The pages of one kind of project each are walked in tests/examples.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.support.pages import PAGES, ROOT, Command, blocks, check, commands, run

TABLE = "create table items (id int primary key, name text, price numeric)"


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("command", [command for page in PAGES for command in commands(page)], ids=str)
def test_every_command_runs_and_prints_what_is_shown(command: Command, pg_database: str) -> None:
    done = run(command.text, DATABASE_URL=pg_database)
    check(command, done, done.stdout if command.code == 0 else done.stdout + done.stderr)


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
