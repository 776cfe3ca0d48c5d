"""Tasks for the project's own PostgreSQL: data in .dbtools/, loopback only."""

from __future__ import annotations

import shlex
import time
from typing import TYPE_CHECKING

from dbtools import config, console
from dbtools.commands.common import become_psql, find_project, handle_errors, option_help, task
from dbtools.errors import NOT_RUN, ConfigurationError
from dbtools.words import number_of

if TYPE_CHECKING:
    from invoke.context import Context

    from dbtools.server.project import ProjectServer
    from dbtools.server.requirements import Requirements


@task(
    auto_shortflags=False,
    help=option_help(
        "debug", server="A major version of PostgreSQL, or a folder of its programs: /usr/lib/postgresql/16/bin"
    ),
)
@handle_errors
def start(_context: Context, server: str = "", debug: bool = False) -> None:
    """Start the project's own server.

    Where it is running already, only its address is printed. Its version, extensions and settings are those of
    [tool.dbtools.server]. --server takes another version or other programs until it is stopped.

        invoke server.start
        invoke server.start --server 18
    """
    from dbtools.server.project import start_server
    from dbtools.server.sources import narrowed

    out = console.Console()
    project = find_project()
    requirements = narrowed(project.server, server)
    if project.server.major:
        _check_major(requirements, project.server)
    out.say(_line(start_server(project.root, requirements, report=out.note)))


@task(
    auto_shortflags=False,
    help=option_help(
        "debug",
        server="A folder of the new version's programs: /usr/lib/postgresql/18/bin",
        **{"from": "The major version that the data are of, where there are data of several older ones"},
    ),
)
@handle_errors
def upgrade(_context: Context, server: str = "", from_: str = "", debug: bool = False) -> None:
    """Bring its data to another major version.

    To the one that [tool.dbtools.server] says now. Roles, databases, settings and rows are dumped, restored and
    compared. The old data are left as they are. Nobody may use the server meanwhile: open sessions are named, and
    nothing is done.

        invoke server.upgrade
    """
    from dbtools.server.project import start_server
    from dbtools.server.requirements import MAJORS
    from dbtools.server.sources import narrowed
    from dbtools.server.upgrade import upgrade_server

    out = console.Console()
    project = find_project()
    requirements = narrowed(project.server, server)
    _check_major(requirements, project.server)
    source = int(config.parse_number("--from", from_, low=MAJORS[0], high=MAJORS[1])) if from_ else None
    done = upgrade_server(project.root, requirements, source=source, report=out.note)
    for name, (tables, rows) in done.rows.items():
        out.done(f"Database {name}: {number_of(tables, 'table')}, {number_of(rows, 'row')}, the same on both servers")
    if not done.carried:
        out.say("All of it was there already, so nothing was carried over.")
    out.say(_line(start_server(project.root, requirements)))
    out.say(f"The data of PostgreSQL {done.major} stay in {done.old}")
    out.say(f"When they are not needed any more: rm -r {shlex.quote(str(done.old))}")


@task(auto_shortflags=False, help=option_help("debug"))
@handle_errors
def stop(_context: Context, debug: bool = False) -> None:
    """Stop the project's own server, keep its data."""
    from dbtools.server.project import stop_server

    out = console.Console()
    out.say("Stopped." if stop_server(find_project().root) else "It was not running.")


@task(auto_shortflags=False, help=option_help("json", "debug"))
@handle_errors
def status(_context: Context, json: bool = False, debug: bool = False) -> None:
    """Show whether the project's own server runs.

    And since when, its size, its programs, its extensions and its log.
    """
    from dbtools.server.project import check_stopped, find_server

    out = console.Console(quiet=json)
    project = find_project()
    found = find_server(project.root, project.server)
    facts: dict[str, object] = {}
    if found is None:
        check_stopped(project.root)
        out.say("Not running. To start it: invoke server.start")
    else:
        facts = {"version": found.version, "port": found.port, "pid": found.pid}
        facts |= {"started": found.started, "size": found.size, "log": str(found.log)}
        facts |= {"programs": str(found.programs), "extensions": found.extensions}
        out.say(_line(found))
        out.say(f"Process {found.pid}, {found.size / 2**20:.0f} MB in {found.directory}")
        out.say(f"Programs: {found.programs}")
        if found.extensions:
            out.say(f"Extensions: {', '.join(found.extensions)}")
        out.say(f"Log: {found.log}")
    if json:
        out.data({"running": found is not None, **facts})


@task(auto_shortflags=False, help=option_help("debug", admin="The superuser's URL instead of the application role's"))
@handle_errors
def url(_context: Context, admin: bool = False, debug: bool = False) -> None:
    """Print the URL of the project's own server.

    The password is part of it, and nothing else is printed. The server is started if necessary.

        DATABASE_URL=$(invoke server.url) your-program
    """
    from dbtools.server.project import start_server

    out = console.Console()
    project = find_project()
    found = start_server(project.root, project.server, report=out.note)
    out.say(found.admin_url if admin else found.url)


@task(auto_shortflags=False, help=option_help("debug", admin="As the superuser instead of the application role"))
@handle_errors
def psql(_context: Context, admin: bool = False, debug: bool = False) -> None:
    """Open psql on the project's own server.

    The server is started if necessary. The arguments after -- go to psql.

        invoke server.psql
        invoke server.psql -- -c 'select count(*) from clients'
    """
    from dbtools.server.project import psql_command, start_server

    project = find_project()
    found = start_server(project.root, project.server, report=console.Console().note)
    command, environment = psql_command(found, admin=admin)
    become_psql(command, environment)


def _check_major(requirements: Requirements, table: Requirements) -> None:
    """Refuse another version than that of the table."""
    if requirements.version != table.version:
        said = f"says major = {table.major}" if table.major else f"names no version, so it is {table.version}"
        raise ConfigurationError(
            f"The project's own server cannot be PostgreSQL {requirements.version}.",
            f"[tool.dbtools.server] {said}, and every other command goes by that.",
            f"Set it there: major = {requirements.version}",
            NOT_RUN,
        )


def _line(found: ProjectServer) -> str:
    since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(found.started))
    return f"PostgreSQL {found.version} on 127.0.0.1:{found.port}, running since {since}"
