"""The start state of a scenario, as a database that every schedule gets a copy of."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import psycopg

from dbtools.config import NoProject, Project
from dbtools.db.dsn import Dsn
from dbtools.errors import NOT_RUN, ConfigurationError
from dbtools.races.execution.actor_process import led_environment
from dbtools.races.execution.wait_tracker import DEADLOCK_TIMEOUT_S
from dbtools.races.scenario import EVERY_TABLE, SCHEMA
from dbtools.server.extensions import make_extensions

if TYPE_CHECKING:
    from collections.abc import Callable

    from dbtools.races.scenario import Scenario
    from dbtools.server.base import EphemeralServer
    from dbtools.server.requirements import Requirements

TEMPLATE = "race_start"
SETTINGS = {
    "deadlock_timeout": f"{DEADLOCK_TIMEOUT_S * 1000:g}ms",
    # What the server starts by itself would take part in the race without being scheduled.
    "autovacuum": "off",
    "max_parallel_workers_per_gather": "0",
    "max_parallel_maintenance_workers": "0",
    "jit": "off",
    "max_prepared_transactions": "10",
}
SINCE_16 = {
    # Of the lab's own connections; the passwords are 144 random bits, which need not be hashed 4,096 times each time.
    "scram_iterations": "1",
}
"""Settings that earlier versions do not know."""


def settings_for(major: int) -> dict[str, str]:
    """Return the settings of a lab's server of this major version."""
    return SETTINGS | (SINCE_16 if major >= 16 else {})


def require(scenario: Scenario, requirements: Requirements, own: dict[str, str]) -> Requirements:
    """Return what the scenario's server must have: what the project requires, and what the scenario adds to it.

    `own` are the lab's settings, which override those of the project.

    Raises:
        ConfigurationError: The scenario sets one of them.
    """
    if ours := [name for name in scenario.settings if name.lower() in own]:
        raise ConfigurationError(
            f"The scenario {scenario.name} cannot set {ours[0]}.",
            f"The lab sets it itself, to {own[ours[0].lower()]}: its schedules depend on it.",
            "Leave it out of [server] settings; a program may set it in its own session.",
            NOT_RUN,
        )
    return replace(
        requirements,
        extensions=tuple(dict.fromkeys((*requirements.extensions, *scenario.extensions))),
        settings={**requirements.settings, **scenario.settings},
    )


def find_project(scenario: Scenario) -> Project | None:
    """Return the project whose snapshot the scenario starts from, None where it starts from none.

    Raises:
        ConfigurationError: There is no project, or its table is wrong.
    """
    if not scenario.snapshot:
        return None
    try:
        return Project.find(scenario.folder)
    except NoProject:
        make = (
            "leave out snapshot, and have [start] make the tables."
            if scenario.file
            else 'make the tables: start="create table ..."'
        )
        raise ConfigurationError(
            f"The scenario {scenario.name} starts from a snapshot, and there is no project to make one of.",
            f"Neither {scenario.folder} nor a folder above it has a pyproject.toml with a table [tool.dbtools].",
            f"Write one: dbtools init; or {make}",
            NOT_RUN,
        ) from None


def make_start(
    scenario: Scenario, server: EphemeralServer, project: Project | None, note: Callable[[str], None]
) -> None:
    """Make the start state in the database `TEMPLATE`. `note` is told what is built.

    Raises:
        ConfigurationError: It cannot be made.
        StepFailed, ChainFailed: The project's own steps could not make its content.
    """
    superuser = Dsn.parse(server.url_of(TEMPLATE, admin=True))
    if project is None:
        server.create_database(TEMPLATE)
    else:
        _copy_snapshot(scenario, server, project, note)
    _run_steps(scenario, superuser if scenario.superuser else Dsn.parse(server.url_of(TEMPLATE)))
    with connect(superuser) as connection:
        for latch in [latch for latch in scenario.latches if latch.table != EVERY_TABLE]:  # that one is put into clones
            connection.execute(latch.trigger)


def connect(dsn: Dsn) -> psycopg.Connection:
    """Return a session of the lab's own, in autocommit."""
    return psycopg.connect(dsn.url, autocommit=True, application_name="race lab")


def _copy_snapshot(scenario: Scenario, server: EphemeralServer, project: Project, note: Callable[[str], None]) -> None:
    """Make `TEMPLATE` with what a reset would install, or with what the migrate steps make; built where none fits."""
    from dbtools.build.template import Owner
    from dbtools.clones.wanted import Wanted, make_template

    wanted = Wanted(schema_only=scenario.snapshot == SCHEMA)
    with Owner(Dsn.parse(server.url)) as owner:
        template = make_template(owner, project, wanted, note, Dsn.parse(server.admin_url))
    with server.connect_admin() as admin:
        how = f"template {template.name} owner {server.role} {server.quick_copy}"
        admin.execute(f"create database {TEMPLATE} {how}")
    make_extensions(server.url_of(TEMPLATE, admin=True), server.extensions)


def _run_steps(scenario: Scenario, dsn: Dsn) -> None:
    for step in scenario.start:
        try:
            if isinstance(step, str):
                with connect(dsn) as connection:
                    connection.execute(step)
            elif isinstance(step, tuple):
                environment = led_environment(dsn.url)
                subprocess.run(step, check=True, env=environment, cwd=scenario.folder, capture_output=True)
            else:
                step(dsn.url)
        except (psycopg.Error, OSError, subprocess.CalledProcessError) as error:
            output = error.stderr or error.stdout if isinstance(error, subprocess.CalledProcessError) else b""
            begins = "the project's snapshot" if scenario.snapshot else "an empty database"
            where, key = ("[start]", "superuser = true") if scenario.file else ("start", "superuser=True")
            role = "a superuser" if scenario.superuser else f"a role that owns it; {key} makes that a superuser"
            raise ConfigurationError(
                f"The start state of the scenario {scenario.name} cannot be made.",
                f"{str(error).strip()} {output.decode('utf-8', 'replace').strip()[-500:]}".strip(),
                f"Correct {where}: it begins with {begins}, as {role}.",
            ) from None
