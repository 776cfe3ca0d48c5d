"""The README holds: its commands run and print what it shows, and its tables name what there is."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
README = (ROOT / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"^```console\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
# Not run here: the clone this is, and the checks this is one of.
SKIPPED = ("git clone", "scripts/dev nox")


def commands() -> list[tuple[str, str]]:
    """Every command of the README's console blocks, with what is shown under it."""
    found = []
    for block in BLOCKS:
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, shown = part.partition("\n")
            if not command.startswith(SKIPPED):
                found.append((command, shown))
    return found


def steady(line: str) -> str:
    """A line without seconds and column widths."""
    return re.sub(r"\d+\.\d+ s| {2,}|-{2,}", "", line)


def run(command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", command], cwd=ROOT, env=os.environ | environment, text=True, capture_output=True
    )


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("command", "shown"), commands(), ids=lambda text: text[:60].replace("\n", " "))
def test_every_command_runs_and_prints_what_is_shown(command: str, shown: str, pg_database: str) -> None:
    done = run(command, DATABASE_URL=pg_database)
    assert done.returncode == 0, done.stderr
    printed = done.stdout.splitlines()
    for line in shown.splitlines():
        if not line.startswith(("unprotected", "Without the lock")):  # how they collide differs from run to run
            assert steady(line) in [steady(one) for one in printed], line


def test_the_two_commands_are_the_first_screen() -> None:
    head = README[: README.index("\n## ")]
    assert "$ scripts/dev invoke reset" in head
    assert "$ scripts/dev nox\n" in head


def test_ci_runs_the_readme_test_command_and_what_the_readme_says() -> None:
    lines = (ROOT / ".ci" / "run").read_text("utf-8").splitlines()
    assert lines[-1] == "scripts/dev nox"
    for line in lines:
        if line.startswith(("scripts/", "export")):
            assert line.removeprefix("export ") in README


def test_every_task_is_in_the_table() -> None:
    listed = subprocess.run(
        [sys.executable, "-m", "invoke", "--list", "--list-format=flat"],
        cwd=ROOT,
        text=True,
        capture_output=True,
        check=True,
    ).stdout
    for name in re.findall(r"^  ([\w.-]+) ", listed, re.MULTILINE):
        assert f"`{name}`" in README, f"task {name} is not in the README"


def test_every_variable_is_in_the_table_and_every_variable_of_the_table_is_read() -> None:
    sources = "".join(
        path.read_text("utf-8") for folder in ("dbtools", "groombook") for path in (ROOT / folder).rglob("*.py")
    )
    table = README[README.index("| variable | meaning") : README.index("A flag beats its variable")]
    documented = set(re.findall(r"`([A-Z][A-Z_]+)`", table))
    read = set(
        re.findall(r'"((?:SEED|DBTOOLS)_[A-Z_]+|DATABASE_URL|ALLOW_RESET|NODE_ENV|APP_ENV|ENVIRONMENT)"', sources)
    )
    assert documented == read


def test_every_nox_session_named_is_there() -> None:
    listed = subprocess.run(
        [sys.executable, "-m", "nox", "--list"], cwd=ROOT, text=True, capture_output=True, check=True
    ).stdout
    sessions = set(re.findall(r"^[*-] (\w+)", listed, re.MULTILINE))
    for name in re.findall(r"nox -s (\w+)", README):
        assert name in sessions


def test_the_readmes_race_is_found(tmp_path: Path) -> None:
    (scenario,) = re.findall(r"^```toml\n(title = .*?)^```", README, re.MULTILINE | re.DOTALL)
    (worker,) = re.findall(r"^```python\n(import sys.*?)^```", README, re.MULTILINE | re.DOTALL)
    (tmp_path / "my-race.toml").write_text(scenario.replace("worker.py", str(tmp_path / "worker.py")), "utf-8")
    (tmp_path / "worker.py").write_text(worker, "utf-8")
    done = run(f"scripts/dev invoke race.explore {tmp_path}/my-race.toml")
    assert done.returncode == 6, done.stderr
    assert "✗ my-race: violated. no serial order, with 1 switch." in done.stdout
