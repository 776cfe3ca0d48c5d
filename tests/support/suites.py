"""Test suites of a project of its own, run by pytest in a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

ROOT = Path(__file__).resolve().parent.parent.parent
HANG_S = 240
PROJECT = """
[tool.dbtools]
migrate = { sql = "schema.sql" }
seed = ["python", "-c", "import seed"]
inputs = ["schema.sql", "seed.py"]
variables = ["SEED_*"]
[tool.pytest.ini_options]
addopts = "-p dbtools.testing -p no:cacheprovider"
filterwarnings = ["error"]
"""
SCHEMA = "create table items (id int generated always as identity primary key, name text not null unique);"
SEED = """
import os, psycopg
with psycopg.connect(os.environ["DATABASE_URL"].replace("+asyncpg", "")) as connection:
    for number in range(int(os.environ.get("SEED_PROFILE", 5))):
        connection.execute("insert into items (name) values (%s)", (f"item {number}",))
with open(os.environ["BUILDS"], "a") as file:
    file.write("built ")
"""
COUNT = """
import psycopg

def count(url):
    with psycopg.connect(url) as connection:
        return connection.execute("select count(*) from items").fetchone()[0]
"""


class Suite:
    """A project whose seed leaves a word in the file `builds`, outside of it, each time that it runs."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "shop"
        self.root.mkdir()
        self.builds = folder / "builds"
        for name, text in (("pyproject.toml", PROJECT), ("schema.sql", SCHEMA), ("seed.py", SEED), ("shop.py", COUNT)):
            self.write(name, text)

    def write(self, name: str, text: str) -> Path:
        path = self.root / name
        path.write_text(dedent(text).lstrip(), "utf-8")
        return path

    def run(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run pytest, with no other plugin than pytest-xdist where it is needed; variables are NAME="value"."""
        xdist = ["-p", "xdist"] if "-n" in arguments else []
        environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "yes"  # importing those of this environment takes longer than all
        return self._run([sys.executable, "-m", "pytest", *xdist, *arguments], environ)

    def invoke(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run an Invoke task of the project."""
        self.write("tasks.py", "from dbtools.commands import namespace\n")
        return self._run([sys.executable, "-m", "invoke", *arguments], environ)

    def dbtools(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run a task by the program `dbtools`."""
        return self._run([sys.executable, "-m", "dbtools", *arguments], environ)

    def count_builds(self) -> int:
        return len(self.builds.read_text("utf-8").split()) if self.builds.exists() else 0

    def _run(self, command: list[str], environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
        # In CI pytest's summary repeats messages in full.
        ours = {name: value for name, value in os.environ.items() if name not in ("CI", "BUILD_NUMBER")}
        place = {"PYTHONPATH": os.pathsep.join([str(ROOT), str(self.root)]), "BUILDS": str(self.builds)}
        return subprocess.run(
            command, cwd=self.root, env=ours | place | environ, text=True, capture_output=True, timeout=HANG_S
        )


def outcomes(done: subprocess.CompletedProcess[str]) -> dict[str, int]:
    """Return how many tests ended how, as pytest's last line says."""
    last = done.stdout.strip().splitlines()[-1]
    return {what: int(number) for number, what in re.findall(r"(\d+) (passed|failed|errors?)", last)}
