#!/usr/bin/env python3
"""Build the wheel and use it without the development tools, so that an import which needs one of them fails here."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from scripts.tracked import copy_tracked  # noqa: E402 - found through the line above

RUNTIME = ("alembic", "invoke", "psycopg", "psycopg-binary", "sqlalchemy", "mako", "markupsafe", "typing-extensions")
PROJECT = '[tool.dbtools]\nmigrate = { sql = "schema.sql" }\n'
CHECK = """
import importlib, importlib.metadata, os, pathlib, pkgutil, sys, dbtools
assert dbtools.__version__ == importlib.metadata.version("dbtools")
assert not {"alembic", "invoke", "psycopg", "sqlalchemy"} & sys.modules.keys(), "import dbtools is no longer cheap"
for name in dbtools.__all__:
    getattr(dbtools, name)
# All but what is for pytest, and what a project's Python runs.
for module in pkgutil.walk_packages(dbtools.__path__, "dbtools."):
    if not module.name.startswith(
        ("dbtools.testing", "dbtools.clones.keywords", "dbtools.races.fixture", "dbtools.build.lead.")
    ):
        importlib.import_module(module.name)
# Programs that a project's Python runs.
lead = pathlib.Path(dbtools.__path__[0]) / "build" / "lead"
assert {"sitecustomize.py", "run_alembic.py", "run_call.py", "lead.cjs"} <= {path.name for path in lead.iterdir()}
assert os.access(lead / "bin" / "psql", os.X_OK), "the programs in lead/bin are not installed as programs"
from dbtools.config import Project
assert Project.find().pool_size == 6
"""


def main() -> None:
    """Build the wheel, install it into a fresh environment, and check version, public names and modules there."""
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        source, wheels, environment = here / "source", here / "wheels", here / "environment"
        copy_tracked(source)
        run("-m", "hatchling", "build", "-t", "wheel", "-d", str(wheels), folder=source)
        subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
        python = environment / "bin" / "python"
        (wheel,) = wheels.glob("*.whl")
        runtime = locked_runtime(here / "runtime.lock")
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--require-hashes", "--no-deps", "-r", str(runtime)], check=True)
        subprocess.run([*pip, "--no-deps", "--no-index", str(wheel)], check=True)
        subprocess.run([str(python), "-m", "pip", "check"], check=True)
        project = here / "project"
        project.mkdir()
        (project / "pyproject.toml").write_text(PROJECT, "utf-8")
        environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        subprocess.run([str(python), "-c", CHECK], cwd=project, env=environ, check=True)
        check_program(python.with_name("dbtools"), here / "stranger", environ)
        check_tool(wheel, runtime, here, environ)
        print(
            f"{wheel.name}: its version is dbtools.__version__, and every module imports without the development tools"
        )


def check_program(program: Path, project: Path, environ: dict[str, str]) -> None:
    """Have the installed program `dbtools` write the table of a project that has none, and read it."""
    project.mkdir()
    (project / "schema.sql").write_text("create table items (id int);\n", "utf-8")
    for words in (["--version"], ["init"], ["snapshot.list"]):
        subprocess.run([str(program), *words], cwd=project, env=environ, check=True)
    complete = [str(program), "--complete", "--", "rese"]
    assert subprocess.check_output(complete, cwd=project, env=environ, text=True).startswith("reset\t")
    assert PROJECT.rstrip() in (project / "pyproject.toml").read_text("utf-8")


def check_tool(wheel: Path, runtime: Path, here: Path, environ: dict[str, str]) -> None:
    """Install the wheel with `uv tool install`, and use the program that this puts on the path.

    uv may not reach the package index where pip does, which has settings of its own for it; then this says so.
    """
    subprocess.run([sys.executable, "-m", "venv", str(here / "uv")], check=True)
    pip = [str(here / "uv" / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "uv"], check=True)
    tools = {"UV_TOOL_DIR": str(here / "tools"), "UV_TOOL_BIN_DIR": str(here / "bin")}
    uv = str(here / "uv" / "bin" / "uv")
    command = [uv, "tool", "install", "--quiet", "--python", sys.executable, "-c", str(runtime), str(wheel)]
    if subprocess.run(command, env=environ | tools, check=False).returncode:
        print("uv tool install: not tried, because uv does not reach the package index here")
        return
    outside = {name: value for name, value in environ.items() if name != "VIRTUAL_ENV"}
    check_program(here / "bin" / "dbtools", here / "tool-stranger", outside)
    print("uv tool install: its program has the tasks, and completes them")


def locked_runtime(path: Path) -> Path:
    """Write the part of requirements.lock that the package itself needs to `path`, and return it."""
    blocks = (ROOT / "requirements.lock").read_text("utf-8").split("\n")
    keep, lines = False, []
    for line in blocks:
        if line[:1].isalnum():
            keep = line.partition("==")[0] in RUNTIME
        if keep:
            lines.append(line)
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def run(*arguments: str, folder: Path) -> None:
    """Run this Python in `folder`."""
    subprocess.run([sys.executable, *arguments], cwd=folder, check=True)


if __name__ == "__main__":
    main()
