"""Private databases with the project's content, made by name and dropped by name."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from dbtools import config, console
from dbtools.commands.common import become_psql, find_dsn, find_project, handle_errors, option_help, task
from dbtools.errors import UNCHANGED, ConfigurationError

if TYPE_CHECKING:
    from invoke.context import Context

    from dbtools.config import Project
    from dbtools.db.dsn import Dsn

_TASKS = ("sandbox", "sandbox.create", "sandbox.psql", "sandbox.drop")
_BRANCH = {"name": "The sandbox's name", "branch": "The sandbox named for the current Git branch"}


@task(
    auto_shortflags=False,
    positional=["name"],
    help=option_help(
        "profile",
        "as_of",
        "seed",
        "json",
        "debug",
        **_BRANCH,
        **{"schema-only": "Without the seed", "from": "Hold what this file holds (invoke snapshot.save)"},
        replace="Drop the sandbox of this name first",
    ),
)
@handle_errors
def create(
    _context: Context,
    name: str,
    branch: bool = False,
    profile: str = "",
    as_of: str = "",
    seed: str = "",
    schema_only: bool = False,
    from_: str = "",
    replace: bool = False,
    json: bool = False,
    debug: bool = False,
) -> None:
    """Make a private database, and print its URL.

    It holds what a reset would install, and the URL has the password. It is a copy of a template that is made once on
    the server. Where there is a sandbox of this name, its URL is printed and nothing is changed. No other database is
    touched.

        invoke sandbox mine
        DATABASE_URL=$(invoke sandbox --branch) your-program
    """
    from dbtools.build.template import Owner
    from dbtools.clones import sandbox
    from dbtools.clones.wanted import Wanted

    out = console.Console(quiet=json)
    project = find_project()
    name = _chosen(project, name, branch=branch)
    dsn, admin = _server(project, out)
    wanted = Wanted(
        schema_only=schema_only,
        snapshot=str(Path(from_).resolve()) if from_ else "",
        profile=profile,
        as_of=as_of,
        seed=seed,
    )
    with Owner(dsn) as owner:
        if replace:
            sandbox.drop(owner.session, project.root.name, name)
        found = sandbox.find(owner.session, project.root.name, name)
        if found:
            out.note(f"Sandbox {name} is there already; --replace makes it anew")
        database = found or sandbox.create(owner, project, name, wanted, out.note, admin)
    url = dsn.with_database(database).url
    out.say(url)
    if json:
        out.data({"name": name, "url": url, "made": not found})


@task(name="list", auto_shortflags=False, help=option_help("json", "debug"))
@handle_errors
def list_all(_context: Context, json: bool = False, debug: bool = False) -> None:
    """List the project's sandboxes.

    invoke sandbox.list
    """
    from dbtools.clones import sandbox
    from dbtools.db.connect import open_session

    out = console.Console(quiet=json)
    project = find_project()
    with open_session(find_dsn(project, out), "sandbox") as session:
        found = sandbox.list_all(session, project.root.name)
    rows = [
        (each.name, each.database, each.made_at, each.key[:16], f"{each.bytes / 1e6:.1f} MB", str(each.sessions))
        for each in found
    ]
    headings = ("name", "database", "made", "snapshot", "size", "sessions")
    out.say(console.table(headings, rows) if rows else "No sandboxes.")
    if json:
        out.data({"sandboxes": [each._asdict() for each in found]})


@task(auto_shortflags=False, positional=["name"], help=option_help("debug", **_BRANCH))
@handle_errors
def psql(_context: Context, name: str, branch: bool = False, debug: bool = False) -> None:
    """Open psql on a sandbox.

    Or on the kept database of a failed test. The arguments after -- go to psql.

        invoke sandbox.psql mine
        invoke sandbox.psql mine -- -c 'select 1'
    """
    from dbtools.build.programs import find_program
    from dbtools.clones import sandbox
    from dbtools.db.connect import open_session

    out = console.Console()
    project = find_project()
    dsn = find_dsn(project, out)
    with open_session(dsn, "sandbox") as session:
        if sandbox.is_kept(session, name):
            database = name
        else:
            name = _chosen(project, name, branch=branch)
            database = sandbox.find(session, project.root.name, name) or ""
        major = session.info.server_version // 10000
    if not database:
        raise _missing(name)
    there = dsn.with_database(database)
    environment = os.environ | ({"PGPASSWORD": there.password} if there.password else {})
    become_psql([str(find_program("psql", major)), there.without_password().url], environment)


@task(
    auto_shortflags=False,
    positional=["name"],
    help=option_help("debug", **_BRANCH, all="Drop all sandboxes of the project"),
)
@handle_errors
def drop(_context: Context, name: str, branch: bool = False, all: bool = False, debug: bool = False) -> None:  # noqa: A002 - --all
    """Drop a sandbox, and end its sessions.

    A database that is no sandbox of this project is left alone.

        invoke sandbox.drop mine
    """
    from dbtools.clones import sandbox
    from dbtools.db.connect import open_session

    out = console.Console()
    project = find_project()
    with open_session(find_dsn(project, out), "sandbox") as session:
        if all:
            names = [each.name for each in sandbox.list_all(session, project.root.name)]
            if not names:
                out.note("No sandboxes.")
        else:
            names = [_chosen(project, name, branch=branch)]
        for each in names:
            if not sandbox.drop(session, project.root.name, each):
                raise _missing(each)
            out.done(f"Dropped sandbox {each}")


def insert_names(arguments: list[str]) -> None:
    """Make `sandbox --branch` and `sandbox.drop --all` work: insert an empty name into the command line's arguments.

    Invoke asks for a positional argument whatever else is given.
    """
    for place, argument in reversed([*enumerate(arguments)]):
        if argument in _TASKS and {"--branch", "--all"} & set(arguments[place + 1 :]):
            arguments.insert(place + 1, "")


def _chosen(project: Project, name: str, *, branch: bool) -> str:
    """Return the sandbox's name; with `branch` that of the branch that Git has checked out in the project."""
    from dbtools.clones import sandbox

    if branch == bool(name):
        raise ConfigurationError(
            "Which sandbox?", "Give either a name or --branch.", "See them: invoke sandbox.list", UNCHANGED
        )
    if not branch:
        sandbox.database_name(project.root.name, name)
        return name
    command = ["git", "-C", str(project.root), "symbolic-ref", "--short", "HEAD"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        raise ConfigurationError(
            "There is no Git branch to name the sandbox for.",
            f"{project.root} is in no Git repository, or no branch is checked out there.",
            "Give a name instead: invoke sandbox NAME",
            UNCHANGED,
        ) from None
    return sandbox.branch_name(found)


def _server(project: Project, out: console.Console) -> tuple[Dsn, Dsn | None]:
    """Return the server's database, and a superuser's session on it where the server is the project's own."""
    from dbtools.db.dsn import Dsn

    if found := config.database():
        return found, None
    from dbtools.server.project import start_server

    own = start_server(project.root, project.server, report=out.note)
    return Dsn.parse(own.url, source="the server's URL"), Dsn.parse(own.admin_url, source="the superuser's URL")


def _missing(name: str) -> ConfigurationError:
    return ConfigurationError(
        f"There is no sandbox {name}.", "", f"See them: invoke sandbox.list; make it: invoke sandbox {name}", UNCHANGED
    )
