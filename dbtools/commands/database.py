"""Tasks that wait for, rebuild, seed and migrate the database."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from dbtools import config, console
from dbtools.commands.build import builder, open_source
from dbtools.commands.common import (
    RUN_OPTIONS,
    Options,
    find_dsn,
    find_project,
    find_target,
    handle_errors,
    option_help,
    parse_option,
    takes,
    task,
)
from dbtools.commands.interrupts import Interruption
from dbtools.errors import UNCHANGED, ConfigurationError, DbtoolsError

if TYPE_CHECKING:
    from invoke.context import Context

_MIGRATE_OPTIONS = ("lock_timeout", "pool_size", "json", "debug")


@task(auto_shortflags=False, help=option_help("timeout", "json", "debug"))
@handle_errors
def wait_for_db(_context: Context, timeout: str = "", json: bool = False, debug: bool = False) -> None:
    """Wait until the database answers.

    Waits for a server that is not there yet, starts, stops or is full. A wrong password, an unknown role or database,
    and a port where another program listens end the wait immediately, exit code 3.

        invoke wait-for-db --timeout 30
    """
    from dbtools.db.wait import wait_for_db as wait

    out = console.Console(quiet=json)
    seconds = parse_option("--timeout", timeout, 60.0, low=0)
    started = time.monotonic()
    dsn = find_dsn(find_project(), out)
    version = wait(dsn, timeout=seconds, note=out.note)
    out.done(f"PostgreSQL {version} answers: {dsn.target}")
    if json:
        out.data({"version": version, "seconds": round(time.monotonic() - started, 3)})


@task(
    auto_shortflags=False,
    iterable=["allow_host"],
    help=option_help(
        *RUN_OPTIONS,
        rebuild="Run the steps and compute the rows again, even where a snapshot fits",
        **{
            "in-place": "Refill the live schema itself, for content that cannot be moved",
            "from": "Install this file (invoke snapshot.save) instead of the project's own steps",
        },
    ),
)
@handle_errors
@takes(*RUN_OPTIONS)
def reset(_context: Context, options: Options, in_place: bool = False, rebuild: bool = False, from_: str = "") -> None:
    """Rebuild schema and data, as one unit.

    All that the application owns is replaced, under the seed lock. The project's steps (migrate, seed) run on a scratch
    database, and only when something they read has changed; the result is kept as a snapshot. Destroys the data in the
    application's schemas. The new tables are filled aside and put in place at one moment: readers go on, and a failure
    at any point leaves the database as it was. Refused (exit code 5) where the environment says production or staging,
    on another machine, where the database is marked or on the protect list, and where the tables are another project's;
    the message says what opens it.

        invoke reset
        invoke reset --profile uat --as-of 2026-11-23 --evidence reset.md
    """
    _run("reset", options, in_place=in_place, rebuild=rebuild, file=from_)


@task(
    auto_shortflags=False,
    iterable=["allow_host"],
    help=option_help(
        *RUN_OPTIONS,
        **{
            "known-users-only": "Add the known users where they are missing, touch nothing else (SEED_KNOWN_USERS_ONLY)"
        },
    ),
)
@handle_errors
@takes(*RUN_OPTIONS)
def seed(_context: Context, options: Options, known_users_only: bool = False) -> None:
    """Load the seeded rows again.

    Their tables are emptied and loaded in one transaction, under the seed lock. The same profile, seed and day give the
    same bytes every time.

        invoke seed --profile dev
        invoke seed --known-users-only
    """
    _run("seed", options, known_users_only=known_users_only)


def _run(
    action: str,
    options: Options,
    *,
    known_users_only: bool = False,
    in_place: bool = False,
    rebuild: bool = False,
    file: str = "",
) -> None:
    from dbtools import chain
    from dbtools.chain import guard
    from dbtools.chain.kept_rows import load_application
    from dbtools.chain.prefetch import generate_in_background

    guard.check_environment(action)
    out = console.Console(quiet=options.json)
    started = time.monotonic()
    project = find_project()
    application, kept = load_application(project, rebuild=rebuild)
    if (action == "seed" and not project.seed) or (known_users_only and application is None):
        raise ConfigurationError(
            "There is nothing to seed." if not project.seed else "There are no known users.",
            f"[tool.dbtools] in {project.root / 'pyproject.toml'} has no {'rows in its ' * bool(project.seed)}seed.",
            'For example: seed = ["python", "-m", "app.seed"], or seed = { rows = "package.module:application" }',
            UNCHANGED,
        )
    plan = config.SeedPlan.resolve(
        application,
        profile=options.profile,
        as_of=options.as_of,
        seed=options.seed,
        known_users_only=known_users_only,
    )
    if options.evidence:
        from dbtools.commands.evidence import prepare_evidence, write_evidence

        prepare_evidence(Path(options.evidence))
    # From here on a second process computes the rows, if none were kept, while this one goes on.
    with (
        generate_in_background(None if file else application, plan, kept) as rows,
        open_source(project, plan, options, out, rebuild=rebuild, file=file) as source,
    ):
        target = find_target(project, out, options, in_place=in_place)
        code = 1
        try:
            if action == "reset":
                outcome = chain.reset(target, source, rows, out)
            else:
                outcome = chain.seed(target, source, rows, out)
            code = 0
        except DbtoolsError as error:
            code = error.exit_code
            out.lines += console.explain(error).splitlines()
            raise
        except Interruption as error:
            code = error.exit_code
            out.lines += str(error).splitlines()
            raise
        finally:
            if options.evidence:
                facts = {"target": target.dsn.masked, "profile": plan.profile, "as of": plan.as_of.isoformat()}
                facts |= {"seed": str(plan.seed), "took": f"{time.monotonic() - started:.2f} s"}
                write_evidence(Path(options.evidence), f"{console.program()} {action}", facts, out.lines, code)
    if options.json:
        lock: dict[str, object] = {"key": target.lock_key, "waited": round(outcome.waited, 3)}
        lock |= {"acquired_at": outcome.acquired_at, "released_at": outcome.released_at}
        out.data(
            {
                "action": action,
                "profile": plan.profile,
                "as_of": plan.as_of.isoformat(),
                "seed": plan.seed,
                "rows": outcome.rows,
                "lock": lock,
                "seconds": outcome.seconds,
            }
        )


@task(auto_shortflags=False, help=option_help(*_MIGRATE_OPTIONS))
@handle_errors
@takes(*_MIGRATE_OPTIONS)
def migrate(_context: Context, options: Options) -> None:
    """Migrate the database itself, and keep its data.

    The migrate steps run on it, under the seed lock.

        invoke migrate
    """
    from dbtools.chain import migrate as run

    out = console.Console(quiet=options.json)
    project = find_project()
    before, after = run(find_target(project, out, options), builder(project, out).upgrade, out)
    if options.json:
        out.data({"from": ", ".join(before), "to": ", ".join(after)})
