"""The options that tasks share."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from invoke.context import Context
from invoke.tasks import task

from dbtools.commands import namespace
from dbtools.commands.common import Options, option_help, parse_option, takes
from dbtools.errors import ConfigurationError

ROOT = Path(__file__).resolve().parent.parent.parent


def test_a_number_is_whole_where_its_default_is() -> None:
    assert parse_option("--rounds", "", 4, low=1) == 4
    assert parse_option("--rounds", "7", 4, low=1) == 7
    assert parse_option("--timeout", "2.5", 60.0, low=0) == 2.5
    assert isinstance(parse_option("--timeout", "2", 60.0, low=0), float)
    with pytest.raises(ConfigurationError, match=r"^--rounds is not a number, or out of range: '2\.5'"):
        parse_option("--rounds", "2.5", 4, low=1)


def test_a_task_takes_shared_options_and_its_own() -> None:
    seen: list[tuple[Options, str]] = []

    @task(auto_shortflags=False, iterable=["allow_host"], help=option_help("seed", "allow_host", own="Its own"))
    @takes("seed", "allow_host")
    def example(_context: Context, options: Options, own: str = "") -> None:
        """Remember what it is given."""
        seen.append((options, own))

    assert [argument.name for argument in example.get_arguments()] == ["own", "seed", "allow_host"]
    example(Context(), own="mine", seed="7")
    assert seen == [(Options(seed="7"), "mine")]


def test_reset_has_what_decides_on_the_snapshot_beside_what_seed_has() -> None:
    reset, seed = ({argument.name for argument in namespace[name].get_arguments()} for name in ("reset", "seed"))
    assert reset - seed == {"in_place", "rebuild", "from_"}
    assert seed - reset == {"known_users_only"}


def test_the_project_is_that_of_the_folder_in_which_invoke_looks_for_tasks(tmp_path: Path) -> None:
    project, elsewhere = tmp_path / "project", tmp_path / "elsewhere"
    for folder in (project / "sub", elsewhere):
        folder.mkdir(parents=True)
    (project / "pyproject.toml").write_text('[tool.dbtools]\nmigrate = { sql = "schema.sql" }\n', "utf-8")
    (project / "tasks.py").write_text("from dbtools.commands import namespace\n", "utf-8")

    def invoke(folder: Path, *words: str) -> tuple[str, int]:
        command = [sys.executable, "-m", "invoke", *words, "snapshot.list"]
        environ = os.environ | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, cwd=folder, env=environ, check=False, capture_output=True, text=True)
        return done.stdout, done.returncode

    assert invoke(project / "sub") == ("No snapshots.\n", 0)
    assert invoke(elsewhere, "--search-root", str(project)) == ("No snapshots.\n", 0)
    assert invoke(elsewhere) == ("", 1)  # Invoke itself finds no tasks
