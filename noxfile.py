"""Plain `nox` runs what a change has to pass: lint, types, unit, live, examples, e2e, races, faults and their like.

The other sessions (conftests, adopt, coverage, bench, plots, mutants, compat, release) are run by name. All but
deploy, docs, plots and release run in the locked environment that scripts/dev made, so that the versions they check are
those of requirements.lock.
"""

from __future__ import annotations

import os
import platform
import sys

import nox

nox.needs_version = ">=2026.10.20"
nox.options.default_venv_backend = "none"
nox.options.error_on_external_run = False


@nox.session
def lint(session: nox.Session) -> None:
    """Check formatting, the rules of pyproject.toml, and that imports between rooms point downwards."""
    session.run("ruff", "format", "--check", ".")
    session.run("ruff", "check", ".")
    session.run("lint-imports", "--no-cache", "--no-logo")


@nox.session
def types(session: nox.Session) -> None:
    """Check types with mypy in strict mode: library, application, migrations, tests, tasks and this file."""
    session.run("mypy")


@nox.session
def unit(session: nox.Session) -> None:
    """Run the tests that need no server. Arguments go to pytest."""
    session.run("pytest", "tests/unit", "--numprocesses=2", *session.posargs)


@nox.session
def pythons(session: nox.Session) -> None:
    """Run the unit tests on the newest Python that is here too, such as that of scripts/debian_python."""
    rows = session.run("python", "scripts/compat.py", "--list", "Python ", silent=True)
    newest = [row for row in str(rows).splitlines() if row.startswith("Python ")][-1]
    if newest == f"Python {platform.python_version()}":
        leave = session.error if os.environ.get("CI") else session.skip
        leave(f"{newest} is the newest here, and unit runs on it; scripts/debian_python fetches a newer one")
    session.run("python", "scripts/compat.py", "--unit", newest)


@nox.session
def live(session: nox.Session) -> None:
    """Run the tests on real PostgreSQL 16 servers, one for each of four workers. Arguments go to pytest."""
    session.run("pytest", "tests/live", "--numprocesses=4", "--dist=worksteal", "--durations=20", *session.posargs)


@nox.session
def examples(session: nox.Session) -> None:
    """Reset the projects of examples/, each in an environment of its own. Needs the registries the first time."""
    session.run("python", "scripts/example_environments.py")
    session.run("pytest", "tests/examples", *session.posargs)


@nox.session
def e2e(session: nox.Session) -> None:
    """Run the whole chain and the race on throwaway servers: -- --server embedded|container|URL (default: both)."""
    session.run("python", "scripts/e2e.py", *session.posargs)


@nox.session
def image(session: nox.Session) -> None:
    """Build the image of Dockerfile, and run it as clusters do: -- --base registry without scripts/container_image."""
    arguments = session.posargs
    if not arguments and not os.environ.get("DBTOOLS_POSTGRES_IMAGE"):
        if not os.environ.get("CI"):
            session.skip("DBTOOLS_POSTGRES_IMAGE names no image of scripts/container_image")
        arguments = ["--base", "registry"]  # a machine of a CI service has an engine, and reaches images
    session.run("python", "scripts/check_image.py", *arguments)


@nox.session
def races(session: nox.Session) -> None:
    """Find every shipped race, replay it, and show that its cure holds: -- --full; public packages: -- --published."""
    script = "scripts/published_races.py" if "--published" in session.posargs else "scripts/races.py"
    session.run("python", script, *(word for word in session.posargs if word != "--published"))


@nox.session
def faults(session: nox.Session) -> None:
    """Break what can break while the chain runs: processes, sessions, network, server. -- --full, -k "lock or disk"."""
    session.run("pytest", "tests/faults", "-m", "faults", *session.posargs)


@nox.session
def soak(session: nox.Session) -> None:
    """Reset on a schedule among seeders, and look at what each round leaves on the server: -- --full for 300 rounds."""
    session.run("pytest", "tests/faults", "-m", "soak", *session.posargs)


@nox.session
def package(session: nox.Session) -> None:
    """Build the wheel and use it in an environment of its own, without the development tools."""
    session.run("python", "scripts/check_package.py", *session.posargs)


@nox.session(venv_backend="venv", reuse_venv=True, default=False)
def release(session: nox.Session) -> None:
    """Build what is published, and use it in empty environments: -- --check for a commit without its tag."""
    session.install("--require-hashes", "--quiet", "-r", "scripts/requirements-release.txt")
    session.run("python", "scripts/release.py", *session.posargs)


@nox.session(venv_backend="venv", reuse_venv=True)
def docs(session: nox.Session) -> None:
    """Build the pages as a site, in build/site; a link that leads nowhere is an error."""
    session.install("--require-hashes", "--quiet", "-r", "scripts/requirements-docs.txt")
    session.run(sys.executable, "scripts/docs.py", external=True)
    session.run("mkdocs", "build", "--strict", "--config-file", "docs/mkdocs.yml", env={"NO_MKDOCS_2_WARNING": "1"})
    session.run(sys.executable, "scripts/check_site.py", external=True)


@nox.session(venv_backend="venv", reuse_venv=True)
def deploy(session: nox.Session) -> None:
    """Check the manifests of deploy/ and the CI files against their schemas, in an environment of their own."""
    session.install("--require-hashes", "--quiet", "-r", "deploy/requirements-check.txt")
    session.run("python", "scripts/check_deploy.py")


@nox.session(default=False)
def conftests(session: nox.Session) -> None:
    """Run the conftests of docs/testing.md with their frameworks, which the first time come from the registry."""
    session.run("python", "scripts/check_conftests.py", *session.posargs)


@nox.session(name="adopt-short")
def adopt_short(session: nox.Session) -> None:
    """Drive a few public packages beside their own commands, measured once; `adopt` drives all."""
    session.run("python", "-m", "scripts.adopt", "--short", *session.posargs)


@nox.session(default=False)
def adopt(session: nox.Session) -> None:
    """Install public packages, drive them beside their own commands, and print a table: -- -k prefect for one."""
    session.run("python", "-m", "scripts.adopt", *session.posargs)


@nox.session(default=False)
def coverage(session: nox.Session) -> None:
    """Run unit and live under coverage, child processes too, and fail below the floor that pyproject.toml sets."""
    session.run("coverage", "erase")
    session.run("coverage", "run", "-m", "pytest", "tests/unit", "tests/live", *session.posargs)
    session.run("coverage", "combine", "--quiet")
    session.run("coverage", "report")


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Measure: a reset beside psql replaying a dump, server start, waiting for the lock, the race lab, tests, loads."""
    session.run("python", "-m", "scripts.bench", *(word for word in session.posargs if word != "--plot"))
    if "--plot" in session.posargs:
        session.notify("plots")


@nox.session(venv_backend="venv", reuse_venv=True, default=False)
def plots(session: nox.Session) -> None:
    """Draw the pictures and write the tables of docs/growth.md, as bench -- growth measured them last."""
    session.install("--require-hashes", "--quiet", "-r", "scripts/requirements-plots.txt")
    session.run("python", "-m", "scripts.bench.growth.plots")


@nox.session(default=False)
def mutants(session: nox.Session) -> None:
    """Change the core line by line, in a copy, and expect its tests to notice: -- -k lock for some of the changes."""
    session.run("python", "scripts/mutants.py", *session.posargs)


@nox.session(default=False)
def compat(session: nox.Session) -> None:
    """Run unit and the core of live on each Python and PostgreSQL that is here, and on the lowest packages."""
    session.run("python", "scripts/compat.py", *session.posargs)
