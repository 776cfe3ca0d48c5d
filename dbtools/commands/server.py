"""Tasks for the project's own embedded PostgreSQL 16: data in .dbtools/, loopback only."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

from invoke.tasks import task

from dbtools import config, console
from dbtools.commands.common import describe, reported

if TYPE_CHECKING:
    from invoke.context import Context

    from dbtools.server.project import ProjectServer


@task(auto_shortflags=False, help=describe("debug"))
@reported
def start(_context: Context, debug: bool = False) -> None:
    """Start the project's own PostgreSQL 16 if it is not running, and say where it is."""
    from dbtools.server import project as project_server

    out = console.Console()
    out.say(_line(project_server.start(config.Project.find().root, report=out.note)))


@task(auto_shortflags=False, help=describe("debug"))
@reported
def stop(_context: Context, debug: bool = False) -> None:
    """Stop the project's own PostgreSQL and keep its data."""
    from dbtools.server import project as project_server

    out = console.Console()
    out.say("Stopped." if project_server.stop(config.Project.find().root) else "It was not running.")


@task(auto_shortflags=False, help=describe("json", "debug"))
@reported
def status(_context: Context, json: bool = False, debug: bool = False) -> None:
    """Say whether the project's own PostgreSQL is running, since when, how large it is and where its log is."""
    from dbtools.server import project as project_server

    out = console.Console(quiet=json)
    found = project_server.find(config.Project.find().root)
    if found is None:
        out.say("Not running. To start it: invoke server.start")
    else:
        out.say(_line(found))
        out.say(f"Process {found.pid}, {found.size / 2**20:.0f} MB in {found.directory}")
        out.say(f"Log: {found.log}")
    if json:
        facts = {} if found is None else {"version": found.version, "port": found.port, "pid": found.pid}
        facts |= {} if found is None else {"started": found.started, "size": found.size, "log": str(found.log)}
        out.data({"running": found is not None, **facts})


@task(auto_shortflags=False, help=describe("debug", admin="The superuser's URL instead of the application role's"))
@reported
def url(_context: Context, admin: bool = False, debug: bool = False) -> None:
    """Print the URL of the project's own PostgreSQL, password included, and nothing else; starts it if need be.

    DATABASE_URL=$(invoke server.url) your-program
    """
    from dbtools.server import project as project_server

    out = console.Console()
    found = project_server.start(config.Project.find().root, report=out.note)
    out.say(found.admin_url if admin else found.url)


@task(auto_shortflags=False, help=describe("debug", admin="As the superuser instead of the application role"))
@reported
def psql(_context: Context, admin: bool = False, debug: bool = False) -> None:
    """Open psql on the project's own PostgreSQL; what stands after -- goes to psql.

    invoke server.psql
    invoke server.psql -- -c 'select count(*) from clients'
    """
    from dbtools.server import project as project_server

    found = project_server.start(config.Project.find().root, report=console.Console().note)
    command, environment = project_server.psql(found.admin_url if admin else found.url)
    # Invoke's own `remainder` is one string, in which quoted arguments have fallen apart.
    more = sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else []
    # psql takes this process's place: its exit code and its signals are ours.
    os.execve(command[0], [*command, *more], environment)  # noqa: S606 - no shell wanted


def _line(found: ProjectServer) -> str:
    since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(found.started))
    return f"PostgreSQL {found.version} on 127.0.0.1:{found.port}, running since {since}"
