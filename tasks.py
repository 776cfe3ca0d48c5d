"""Rebuild, seed and check a PostgreSQL database, one run at a time.

DATABASE_URL selects the database; without it the project's own embedded PostgreSQL 16 is used, started if need be.
"""

from __future__ import annotations

import functools
import os
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invoke.collection import Collection
from invoke.exceptions import Exit
from invoke.main import program
from invoke.tasks import task

from dbtools import config, console
from dbtools.errors import ConfigurationError, DbtoolsError, VerificationFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from invoke.context import Context

    from dbtools.dsn import Dsn
    from dbtools.races.trace import Trace
    from dbtools.server.lasting import LastingServer
    from dbtools.target import Target

HELP = {
    "profile": "What to seed: dev, uat or demo (SEED_PROFILE; default dev)",
    "as_of": "The day the data is dated around, such as 2026-11-23 (SEED_AS_OF; default today in UTC)",
    "seed": "The seed of the pseudo-random stream (default 42)",
    "lock_timeout": "Seconds to wait for the seed lock; 0 tries once (default 300)",
    "pool_size": "Connections the run may open, 2 or more: one holds the lock (DBTOOLS_POOL_SIZE; default 6)",
    "confirm": "The database's name, for one that is marked or on the protect list (with ALLOW_RESET=true)",
    "allow_host": "Another machine (name or address) whose database may be destroyed; may be given several times",
    "json": "Print the result as JSON, nothing else, on standard output",
    "evidence": "Write a transcript fit for a pull request to this Markdown file",
    "timeout": "Seconds to wait; 0 tries once (default 60)",
    "debug": "Show a traceback with an error",
}


def _help(*names: str, **more: str) -> dict[str, str]:
    return {name.replace("_", "-"): HELP[name] for name in names} | more


def _reported(body: Callable[..., None]) -> Callable[..., None]:
    """Turn an error of ours into three lines on standard error and its exit code."""

    @functools.wraps(body)
    def wrapper(context: Context, *arguments: Any, **options: Any) -> None:
        try:
            body(context, *arguments, **options)
        except DbtoolsError as error:
            raise Exit(console.explain(error, debug=bool(options.get("debug"))), error.exit_code) from None
        except Exit:
            raise
        except BrokenPipeError:
            # Whoever read our output is gone; nobody is left to tell.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise Exit(code=1) from None
        except Exception as error:  # noqa: BLE001 - the last resort: no traceback unless asked for
            raise Exit(console.unexpected(error, debug=bool(options.get("debug"))), 1) from None
        except KeyboardInterrupt:
            raise Exit("Interrupted. Work that was not committed is rolled back by the server.", 130) from None

    return wrapper


def _dsn(project: config.Project, out: console.Console) -> Dsn:
    """The database to work on: DATABASE_URL, else the project's own server, which is started if it is not running."""
    found = config.database()
    if found is not None:
        return found
    from dbtools.dsn import Dsn
    from dbtools.server import lasting

    return Dsn.parse(lasting.start(project.root, report=out.note).url, source="the embedded server's URL")


def _target(
    project: config.Project,
    out: console.Console,
    lock_timeout: str = "",
    pool_size: str = "",
    confirm: str = "",
    allow_host: Sequence[str] | None = None,
    *,
    in_place: bool = False,
) -> Target:
    from dbtools.guard import Rules
    from dbtools.pool import check_size
    from dbtools.target import Target

    size = pool_size or os.environ.get("DBTOOLS_POOL_SIZE", "")
    source = "--pool-size" if pool_size else "DBTOOLS_POOL_SIZE"
    wait = config.number("--lock-timeout", lock_timeout, low=0, whole=False) if lock_timeout else project.lock_timeout
    sessions = int(config.number(source, size, low=1)) if size else project.pool_size
    check_size(sessions)  # before a server is started for nothing
    return Target(
        _dsn(project, out),
        lock_key=project.lock_key,
        lock_timeout=wait,
        pool_size=sessions,
        schema=project.schema,
        in_place=in_place or project.strategy == "in-place",
        confirm=confirm or None,
        rules=Rules((*project.allow_hosts, *(allow_host or ())), project.protect),
    )


@task(auto_shortflags=False, help=_help("timeout", "json", "debug"))
@_reported
def wait_for_db(_context: Context, timeout: str = "", json: bool = False, debug: bool = False) -> None:
    """Wait until the database answers; fail at once on what waiting cannot heal.

    A server that is not there yet, or starts, stops or is full, is waited for. A wrong password, an unknown role or
    database, and a port where something else listens end the wait at once, exit code 3.

        invoke wait-for-db --timeout 30
    """
    from dbtools.wait import wait_for_db as wait

    out = console.Console(quiet=json)
    seconds = config.number("--timeout", timeout, low=0, whole=False) if timeout else 60.0
    started = time.monotonic()
    dsn = _dsn(config.Project.find(), out)
    version = wait(dsn, timeout=seconds, note=out.note)
    out.done(f"PostgreSQL {version} answers: {dsn.target}")
    if json:
        out.data({"version": version, "seconds": round(time.monotonic() - started, 3)})


_RUN = (
    *("profile", "as_of", "seed", "lock_timeout", "pool_size", "confirm", "allow_host"),
    *("json", "evidence", "debug"),
)


@task(
    auto_shortflags=False,
    iterable=["allow_host"],
    help=_help(*_RUN, **{"in-place": "Rebuild the live schema itself, for migrations that cannot be run aside"}),
)
@_reported
def reset(
    _context: Context,
    profile: str = "",
    as_of: str = "",
    seed: str = "",
    in_place: bool = False,
    lock_timeout: str = "",
    pool_size: str = "",
    confirm: str = "",
    allow_host: Sequence[str] | None = None,  # None, or Invoke does not collect
    json: bool = False,
    evidence: str = "",
    debug: bool = False,
) -> None:
    """Replace everything by a freshly migrated and seeded schema, as one unit under the seed lock.

    Destroys the data in the application's schema. The new tables are built aside and put in place at one moment:
    readers go on, and a failure at any point leaves the database as it was. Refused (exit code 5) where NODE_ENV,
    APP_ENV or ENVIRONMENT says production, on another machine, and where the database is marked or on the protect
    list; the message says what opens it.

        invoke reset
        invoke reset --profile uat --as-of 2026-11-23 --evidence reset.md
    """
    _run(
        "reset",
        profile,
        as_of,
        seed,
        lock_timeout,
        pool_size,
        confirm,
        allow_host,
        json,
        evidence,
        in_place=in_place,
    )


@task(
    auto_shortflags=False,
    iterable=["allow_host"],
    help=_help(
        *_RUN,
        **{
            "known-users-only": "Add the known users where they are missing, touch nothing else (SEED_KNOWN_USERS_ONLY)"
        },
    ),
)
@_reported
def seed(
    _context: Context,
    profile: str = "",
    as_of: str = "",
    seed: str = "",
    known_users_only: bool = False,
    lock_timeout: str = "",
    pool_size: str = "",
    confirm: str = "",
    allow_host: Sequence[str] | None = None,  # None, or Invoke does not collect
    json: bool = False,
    evidence: str = "",
    debug: bool = False,
) -> None:
    """Empty the seeded tables and load them again, in one transaction under the seed lock.

    The same profile, seed and day give the same bytes every time.

        invoke seed --profile dev
        invoke seed --known-users-only
    """
    _run(
        "seed",
        profile,
        as_of,
        seed,
        lock_timeout,
        pool_size,
        confirm,
        allow_host,
        json,
        evidence,
        known_users_only=known_users_only,
    )


def _run(
    action: str,
    profile: str,
    as_of: str,
    number: str,
    lock_timeout: str,
    pool_size: str,
    confirm: str,
    allow_host: Sequence[str] | None,
    json: bool,
    evidence: str,
    *,
    known_users_only: bool = False,
    in_place: bool = False,
) -> None:
    from dbtools import chain, guard
    from dbtools.rows import prepare

    guard.check_environment(action)
    out = console.Console(quiet=json)
    started = time.monotonic()
    project = config.Project.find()
    application = project.load_application()
    plan = config.SeedPlan.choose(
        application, profile=profile, as_of=as_of, seed=number, known_users_only=known_users_only
    )
    # The rows are computed in a second process from here on, beside everything that follows.
    with prepare(application, plan) as rows:
        target = _target(project, out, lock_timeout, pool_size, confirm, allow_host, in_place=in_place)
        code = 1
        try:
            if action == "reset":
                outcome = chain.reset(target, project.migrations, project.cache, rows, out)
            else:
                outcome = chain.seed(target, rows, out)
            code = 0
        except DbtoolsError as error:
            code = error.exit_code
            out.lines += console.explain(error).splitlines()
            raise
        finally:
            if evidence:
                facts = {"target": target.dsn.masked, "profile": plan.profile, "as of": plan.as_of.isoformat()}
                facts |= {"seed": str(plan.seed), "took": f"{time.monotonic() - started:.2f} s"}
                console.write_evidence(Path(evidence), f"invoke {action}", facts, out.lines, code)
    if json:
        out.data(
            {
                "action": action,
                "profile": plan.profile,
                "as_of": plan.as_of.isoformat(),
                "seed": plan.seed,
                "rows": outcome.rows,
                "lock": {"key": target.lock_key, "waited": round(outcome.waited, 3)}
                | {"acquired_at": outcome.acquired_at, "released_at": outcome.released_at},
                "seconds": outcome.seconds,
            }
        )


@task(auto_shortflags=False, help=_help("json", "debug"))
@_reported
def migrate(_context: Context, json: bool = False, debug: bool = False) -> None:
    """Upgrade the database to the newest revision and keep its data; under the seed lock.

    invoke migrate
    """
    from dbtools.chain import migrate as run

    out = console.Console(quiet=json)
    project = config.Project.find()
    before, after = run(_target(project, out), project.migrations, out)
    if json:
        out.data({"from": before, "to": after})


@task(auto_shortflags=False, help=_help("json", "debug", expect="Fail (exit code 6) unless the digest is this one"))
@_reported
def digest(_context: Context, expect: str = "", json: bool = False, debug: bool = False) -> None:
    """Print a fingerprint of the content: rows and hash of each table, and one SHA-256 over all.

    invoke digest
    invoke digest --expect 2f1c...
    """
    from dbtools.connect import open_session
    from dbtools.digest import digest as fingerprint

    out = console.Console(quiet=json)
    project = config.Project.find()
    with open_session(_dsn(project, out), "digest") as connection:
        found = fingerprint(connection, project.schema)
    rows = [(one.table, str(one.rows), one.md5) for one in found.tables]
    out.say(console.table(("table", "rows", "md5"), rows) if rows else "No tables.")
    out.say(f"sha256 {found.sha256}")
    if json:
        out.data({"sha256": found.sha256, "tables": {name: {"rows": int(n), "md5": md5} for name, n, md5 in rows}})
    if expect and expect != found.sha256:
        raise VerificationFailed(
            "The content is not what was expected.",
            f"Its digest is {found.sha256}, expected {expect}.",
            "Compare profile, seed and day (--as-of) of the two runs; then: invoke reset",
        )


@task(
    auto_shortflags=False,
    iterable=["allow_host"],
    help=_help(
        "profile",
        "as_of",
        "confirm",
        "allow_host",
        "json",
        "evidence",
        "debug",
        rounds="Rounds of each arm (default 4); odd ones start seeders only",
        seeders="Seeders in each round (default 3)",
        resets="Resets in each round (default 2)",
        **{"no-schedules": "Leave out the proof by schedules"},
    ),
)
@_reported
def verify_concurrency(
    _context: Context,
    rounds: str = "",
    seeders: str = "",
    resets: str = "",
    profile: str = "",
    as_of: str = "",
    confirm: str = "",
    allow_host: Sequence[str] | None = None,  # None, or Invoke does not collect
    no_schedules: bool = False,
    json: bool = False,
    evidence: str = "",
    debug: bool = False,
) -> None:
    """Show the race without the lock, and that it is gone with it.

    By schedules, on a throwaway server: without the lock the race lab must find the duplicate key, with it no schedule
    may fail, and with different keys the race must be back. And by chance: real seeders and resets start at one
    moment, over several rounds, in two arms. Without protection a duplicate key must appear; with the lock every
    process must succeed, one after the other, and leave the same content. Exit code 6 when one of these fails to
    happen. Destroys the data in the application's schema.

        invoke verify-concurrency
        invoke verify-concurrency --rounds 10 --evidence race.md
    """
    from dbtools import guard
    from dbtools.races.proof import Proof, prove
    from dbtools.verify import HEADINGS, verify

    guard.check_environment("verify-concurrency")
    out = console.Console(quiet=json)
    project = config.Project.find()
    counts = {
        name: int(config.number(f"--{name}", text, low=low)) if text else default
        for name, text, low, default in (
            ("rounds", rounds, 1, 4),
            ("seeders", seeders, 0, 3),
            ("resets", resets, 0, 2),
        )
    }
    if counts["seeders"] + counts["resets"] < 2:
        raise ConfigurationError(
            "A race needs at least two processes.", "Nothing was changed.", "For example: --seeders 2 --resets 1"
        )
    plan = config.SeedPlan.choose(project.load_application(), profile=profile, as_of=as_of)
    target = _target(project, out, confirm=confirm, allow_host=allow_host)
    found = verify(project, target, plan, note=out.note, **counts)
    by_schedules = Proof(skipped="--no-schedules was given.") if no_schedules else prove(project, out.note)
    complaints = [*by_schedules.complaints, *found.complaints]
    for line in by_schedules.lines():
        out.say(f"{line}\n")
    out.say(console.table(HEADINGS, found.rows()))
    out.say()
    for line in found.verdicts():
        out.say(line)
    if evidence:
        facts = {"target": target.dsn.masked} | {name: str(value) for name, value in found.setting.items()}
        code = 6 if complaints else 0
        console.write_evidence(Path(evidence), "invoke verify-concurrency", facts, out.lines, code)
    if json:
        out.data(found.to_json() | {"schedules": by_schedules.to_json(), "proved": not complaints})
    if complaints:
        raise VerificationFailed(
            "The proof failed.", "; ".join(complaints) + ".", "Run it again with --json to see every process."
        )


@task(auto_shortflags=False, help=_help("json", "debug"))
@_reported
def doctor(_context: Context, json: bool = False, debug: bool = False) -> None:
    """Look at the database without changing it: rights, guard, lock, revision, and every rule of its data.

    invoke doctor
    """
    from dbtools.doctor import examine

    out = console.Console(quiet=json)
    project = config.Project.find()
    target = _target(project, out)
    findings = []
    for one in examine(target, project.migrations, project.cache, project.load_application(), os.environ):
        findings.append(one)
        out.say(str(one))
    if json:
        out.data({"findings": [vars(one) for one in findings]})
    bad = [one.name for one in findings if one.good is False]
    if bad:
        raise VerificationFailed(
            f"Not all is well with {target.dsn.target}.", f"{', '.join(bad)}.", "To rebuild it: invoke reset"
        )


@task(auto_shortflags=False, help=_help("debug"))
@_reported
def start(_context: Context, debug: bool = False) -> None:
    """Start the project's own PostgreSQL 16 if it is not running, and say where it is."""
    from dbtools.server import lasting

    out = console.Console()
    out.say(_line(lasting.start(config.Project.find().root, report=out.note)))


@task(auto_shortflags=False, help=_help("debug"))
@_reported
def stop(_context: Context, debug: bool = False) -> None:
    """Stop the project's own PostgreSQL and keep its data."""
    from dbtools.server import lasting

    out = console.Console()
    out.say("Stopped." if lasting.stop(config.Project.find().root) else "It was not running.")


@task(auto_shortflags=False, help=_help("json", "debug"))
@_reported
def status(_context: Context, json: bool = False, debug: bool = False) -> None:
    """Say whether the project's own PostgreSQL is running, since when, how large it is and where its log is."""
    from dbtools.server import lasting

    out = console.Console(quiet=json)
    found = lasting.find(config.Project.find().root)
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


@task(auto_shortflags=False, help=_help("debug", admin="The superuser's URL instead of the application role's"))
@_reported
def url(_context: Context, admin: bool = False, debug: bool = False) -> None:
    """Print the URL of the project's own PostgreSQL, password included, and nothing else; starts it if need be.

    DATABASE_URL=$(invoke server.url) your-program
    """
    from dbtools.server import lasting

    out = console.Console()
    found = lasting.start(config.Project.find().root, report=out.note)
    out.say(found.admin_url if admin else found.url)


@task(auto_shortflags=False, help=_help("debug", admin="As the superuser instead of the application role"))
@_reported
def psql(_context: Context, admin: bool = False, debug: bool = False) -> None:
    """Open psql on the project's own PostgreSQL; what stands after -- goes to psql.

    invoke server.psql
    invoke server.psql -- -c 'select count(*) from clients'
    """
    from dbtools.server import lasting

    found = lasting.start(config.Project.find().root, report=console.Console().note)
    command, environment = lasting.psql(found.admin_url if admin else found.url)
    # Invoke's own `remainder` is one string, in which quoted arguments have fallen apart.
    more = sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else []
    # psql takes this process's place: its exit code and its signals are ours.
    os.execve(command[0], [*command, *more], environment)  # noqa: S606 - no shell wanted


@task(
    auto_shortflags=False,
    iterable=["file"],
    help=_help(
        "json",
        "debug",
        file="A spec, or a folder of them; --file may be left out",
        expected="Compare with the outputs in this folder, NAME.out or NAME_1.out ...; exit code 6 if it differs",
        results="Write each output to NAME.out in this folder",
        **{"step-timeout": "Seconds after which a step is cancelled (default 360)"},
    ),
)
@_reported
def spec(
    _context: Context,
    file: list[str],
    expected: str = "",
    results: str = "",
    step_timeout: str = "",
    json: bool = False,
    debug: bool = False,
) -> None:
    """Run files in PostgreSQL's isolation-spec language; print what its isolation tester would.

    Each file runs as superuser on a throwaway PostgreSQL 16 of its own, never on DATABASE_URL. One file's output goes
    to standard output as it is; for several, and with --expected, a table of the results and what differs. All words
    after the task's name are its own: no other task can follow.

        invoke race.spec tests/data/isolation/write-skew.spec
        invoke race.spec postgresql/src/test/isolation/specs --expected postgresql/src/test/isolation/expected
    """
    from dbtools.races import conformance

    seconds = config.number("--step-timeout", step_timeout, low=1, whole=False) if step_timeout else 360.0
    paths = conformance.find(file, Path.cwd())
    if len(paths) == 1 and not (expected or results or json):
        conformance.run_one(paths[0], _write, step_timeout=seconds)
        return
    out = console.Console(quiet=json)
    outcomes = conformance.run_all(paths, Path(expected) if expected else None, out.note, step_timeout=seconds)
    for one in outcomes:
        if results:
            Path(results).mkdir(parents=True, exist_ok=True)
            (Path(results) / f"{one.name}.out").write_bytes(one.output)
        if one.detail:
            out.say(f"{one.name}:\n{one.detail}\n")
    bad = [one.name for one in outcomes if not one.good]
    out.say(console.table(conformance.HEADINGS, [one.row() for one in outcomes]))
    out.say(f"\n{len(outcomes) - len(bad)} of {len(outcomes)} specs {'as expected' if expected else 'run to the end'}.")
    if json:
        shown = ("name", "result", "permutations", "seconds", "detail")
        out.data({"specs": [{name: getattr(one, name) for name in shown} for one in outcomes]})
    if bad:
        raise VerificationFailed(
            f"{len(bad)} of {len(outcomes)} specs failed or differ from what is expected.",
            f"{', '.join(bad)}.",
            "To see the whole output of one: invoke race.spec FILE",
        )


RACE_HELP = {
    "scenario": "A scenario of the project (invoke race.list), or a file: my-race.toml",
    "token": "What race.explore printed",
    "file": "The scenario's file, where it is not in the project's folder of races",
    "server": "Major version of the throwaway PostgreSQL: 16 or 18 (default 16)",
}


def _major(text: str) -> int:
    if text and text not in ("16", "18"):
        raise ConfigurationError(
            f"There is no PostgreSQL {text} here.", "The lab has 16 and 18. Nothing was run.", "Choose one: --server 18"
        )
    return int(text or 16)


@task(name="list", auto_shortflags=False, help=_help("json", "debug"))
@_reported
def race_list(_context: Context, json: bool = False, debug: bool = False) -> None:
    """List the project's races: every scenario and its variants, and how each is to end.

    invoke race.list
    """
    from dbtools.races import shelf

    out = console.Console(quiet=json)
    project = config.Project.find()
    found = shelf.names(project)
    out.say(console.table(("scenario", "what", "expected"), found) if found else f"No scenario in {project.races}.")
    if json:
        out.data({"scenarios": [dict(zip(("name", "title", "expected"), one, strict=True)) for one in found]})


@task(
    auto_shortflags=False,
    positional=["scenario"],
    help=_help(
        "json",
        "debug",
        scenario=RACE_HELP["scenario"],
        variant="A variant of it (invoke race.list)",
        unlocked="Short for --variant unlocked",
        bound="Most switches away from a program that could go on (default 2)",
        schedules="Most schedules to try within the bound (default 1000)",
        seconds="Most seconds to try (default: no limit)",
        random="Schedules to try after that by random walk, and as many by PCT (default 0)",
        depth="The depth of races that PCT looks for: one more than the switches a race takes (default 3)",
        seed="What the random schedules begin with (default 0)",
        server=RACE_HELP["server"],
        html="Write the failing run as a page to this file",
        svg="Write the failing run as an image to this file",
    ),
)
@_reported
def explore(
    _context: Context,
    scenario: str,
    variant: str = "",
    unlocked: bool = False,
    bound: str = "",
    schedules: str = "",
    seconds: str = "",
    random: str = "",
    depth: str = "",
    seed: str = "",
    server: str = "",
    html: str = "",
    svg: str = "",
    json: bool = False,
    debug: bool = False,
) -> None:
    """Interleave a scenario's programs in every order up to a bound; print the race that it finds, and its token.

    Each schedule runs on a fresh clone of the start state, on a throwaway PostgreSQL, never on DATABASE_URL. Exit code
    0 where it ends as the scenario expects (nothing fails, or the failure it names), 6 where it does not, 1 where
    nothing can be said.

        invoke race.explore reset-vs-seed --unlocked
        invoke race.explore my-race.toml --bound 1 --html race.html
    """
    from dbtools.races import report, shelf
    from dbtools.races.explore import BOUND, DEPTH, SCHEDULES
    from dbtools.races.explore import explore as run
    from dbtools.races.explored import Verdict

    out = console.Console(quiet=json)
    project = config.Project.find()
    numbers = {
        name: int(config.number(f"--{name}", text, low=low)) if text else default
        for name, text, low, default in (
            ("bound", bound, 0, BOUND),
            ("schedules", schedules, 1, SCHEDULES),
            ("random", random, 0, 0),
            ("depth", depth, 1, DEPTH),
            ("seed", seed, 0, 0),
        )
    }
    limit = config.number("--seconds", seconds, low=0, whole=False) if seconds else float("inf")
    wanted = shelf.find(project, scenario, variant or ("unlocked" if unlocked else ""))
    found = run(wanted, seconds=limit, major=_major(server), note=out.note, **numbers)
    if found.played:
        _draw(found.played.trace, wanted.title, found.token, html, svg, out)
    if found.played and found.verdict is Verdict.VIOLATED:
        shelf.keep(project, found.token, found.played.trace)
    for line in report.verdict(found):
        out.say(line)
    if json:
        out.data(report.to_json(found))
    if not found.as_expected:
        if found.verdict is Verdict.INCONCLUSIVE:
            raise Exit(code=1)
        raise Exit(code=VerificationFailed.exit_code)


@task(
    auto_shortflags=False,
    positional=["token"],
    help=_help(
        "json", "debug", times="How often (default 1)", **{n: RACE_HELP[n] for n in ("token", "file", "server")}
    ),
)
@_reported
def replay(
    _context: Context,
    token: str,
    times: str = "",
    file: str = "",
    server: str = "",
    json: bool = False,
    debug: bool = False,
) -> None:
    """Run the schedule of a token again, on a fresh clone of the start state.

    Exit code 0 where it fails as the scenario expects, or where it expects nothing and nothing fails; 6 where not; 1
    where the programs do something else than they did when the token was made: it says at which step.

        invoke race.replay pgr1-lost-update.unlocked-cbfc11-A1.B-5da1 --times 100
    """
    from dbtools.races import report, shelf
    from dbtools.races.explore import replay as run

    out = console.Console(quiet=json)
    project = config.Project.find()
    major = _major(server)
    scenario = shelf.of_token(project, token, file, major)
    count = int(config.number("--times", times, low=1)) if times else 1
    runs = run(scenario, token, times=count, major=major)
    if count == 1:
        _draw(runs[0].trace, scenario.title, token, "", "", out)
    for line in report.replayed(runs, token):
        out.say(line)
    if json:
        out.data(report.replayed_json(runs, token))
    for one in runs:
        why = one.diverged or shelf.difference(project, token, one.trace) or one.trace.stalled
        if why:
            raise DbtoolsError(
                f"The replay of {token} is not the run that it was made from.",
                f"{why[:1].upper()}{why[1:]}.",
                "The programs have changed, or do something by chance. Find the race again: invoke race.explore",
            )
    if any(not report.is_expected(scenario, one) for one in runs):
        raise Exit(code=VerificationFailed.exit_code)


@task(
    auto_shortflags=False,
    positional=["token"],
    help=_help(
        "debug",
        html="Write it as a self-contained page to this file",
        svg="Write it as an image to this file",
        **{name: RACE_HELP[name] for name in ("token", "file", "server")},
    ),
)
@_reported
def show(
    _context: Context,
    token: str,
    html: str = "",
    svg: str = "",
    file: str = "",
    server: str = "",
    debug: bool = False,
) -> None:
    """Draw the run of a token: who ran what when, who waited for whom, where it broke.

    A scenario's name in the place of the token draws its programs one after the other.

        invoke race.show TOKEN --html race.html
    """
    from dbtools.races import shelf
    from dbtools.races import token as tokens
    from dbtools.races.explore import replay as run
    from dbtools.races.explored import encode

    out = console.Console()
    project = config.Project.find()
    major = _major(server)
    if tokens.is_token(token):
        scenario = shelf.of_token(project, token, file, major)
    else:
        scenario = shelf.find(project, token)
        token = encode(scenario, major, ((0, None),))
    _draw(run(scenario, token, major=major)[0].trace, scenario.title, token, html, svg, out)


def _draw(trace: Trace, title: str, token: str, html: str, svg: str, out: console.Console) -> None:
    """Draw a run: into the files that are named, else as text."""
    from dbtools.races import picture

    for name, draw in ((html, picture.html), (svg, picture.svg)):
        if name:
            Path(name).write_text(draw(trace, title=title, token=token), "utf-8")
            out.note(f"Written: {name}")
    if not html and not svg:
        size = shutil.get_terminal_size((120, 24)).columns
        color = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        out.say(picture.text(trace, token=token, width=size, color=color))
        out.say()


def _write(piece: bytes) -> None:
    sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()


def _name_files(words: list[str]) -> None:
    """Put --file before each file of `race.spec FILE...`: Invoke would take them for tasks."""
    start = words.index("race.spec") + 1 if "race.spec" in words else len(words)
    named: list[str] = []
    for word in words[start:]:
        if not word.startswith("-") and named[-1:] not in (
            ["--file"],
            ["--expected"],
            ["--results"],
            ["--step-timeout"],
        ):
            named.append("--file")
        named.append(word)
    words[start:] = named


def _line(found: LastingServer) -> str:
    since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(found.started))
    return f"PostgreSQL {found.version} on 127.0.0.1:{found.port}, running since {since}"


namespace = Collection(doctor, wait_for_db, reset, seed, migrate, digest, verify_concurrency)
server = Collection("server", start, stop, status, url, psql)
server.__doc__ = "The project's own embedded PostgreSQL 16: data in .dbtools/, loopback only."
namespace.add_collection(server)
race = Collection("race", race_list, explore, replay, show, spec)
race.__doc__ = "The race lab: interleave programs on PostgreSQL, statement by statement."
namespace.add_collection(race)
if hasattr(program, "core"):  # not where this file is imported by something else than Invoke
    _name_files(program.core.unparsed)
