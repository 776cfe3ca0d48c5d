"""What the tasks share: the words of their options, their errors and exit codes, and the database that they work on."""

from __future__ import annotations

import functools
import os
import sys
from typing import TYPE_CHECKING, Any

from invoke.exceptions import Exit

from dbtools import config, console
from dbtools.errors import DbtoolsError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from invoke.context import Context

    from dbtools.chain.target import Target
    from dbtools.db.dsn import Dsn

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


def describe(*names: str, **more: str) -> dict[str, str]:
    """Return the words of a task's options: those that tasks share by name, its own as they are."""
    return {name.replace("_", "-"): HELP[name] for name in names} | more


def reported(body: Callable[..., None]) -> Callable[..., None]:
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


def dsn_of(project: config.Project, out: console.Console) -> Dsn:
    """The database to work on: DATABASE_URL, else the project's own server, which is started if it is not running."""
    found = config.database()
    if found is not None:
        return found
    from dbtools.db.dsn import Dsn
    from dbtools.server import project as project_server

    return Dsn.parse(project_server.start(project.root, report=out.note).url, source="the embedded server's URL")


def target_of(
    project: config.Project,
    out: console.Console,
    lock_timeout: str = "",
    pool_size: str = "",
    confirm: str = "",
    allow_host: Sequence[str] | None = None,
    *,
    in_place: bool = False,
) -> Target:
    """Return the database to work on and how a run goes about it; an option beats its variable and pyproject.toml.

    Raises:
        ConfigurationError: A number is none, or the pool is too small.
        ServerError: The project's own server did not start.
    """
    from dbtools.chain.target import GuardRules, Target, Waits
    from dbtools.db.sessions import check_size

    size = pool_size or os.environ.get("DBTOOLS_POOL_SIZE", "")
    source = "--pool-size" if pool_size else "DBTOOLS_POOL_SIZE"
    wait = (
        config.parse_number("--lock-timeout", lock_timeout, low=0, whole=False)
        if lock_timeout
        else project.lock_timeout
    )
    sessions = int(config.parse_number(source, size, low=1)) if size else project.pool_size
    check_size(sessions)  # before a server is started for nothing
    return Target(
        dsn_of(project, out),
        lock_key=project.lock_key,
        waits=Waits(wait),
        pool_size=sessions,
        schema=project.schema,
        in_place=in_place or project.strategy == "in-place",
        confirm=confirm or None,
        rules=GuardRules((*project.allow_hosts, *(allow_host or ())), project.protect),
    )
