"""What the tasks share: their options, their errors and exit codes, and the database they work on."""

from __future__ import annotations

import functools
import inspect
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, cast

from dbtools import config, console
from dbtools.commands.interrupts import Interruption, signals_interrupt
from dbtools.errors import NOT_RUN, ConfigurationError, DbtoolsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from invoke.context import Context

    from dbtools.chain.target import Target
    from dbtools.db.dsn import Dsn

HELP = {
    "profile": "What to seed: dev, uat or demo (SEED_PROFILE; default dev)",
    "as_of": "The day the data is dated around, such as 2026-11-23 (SEED_AS_OF; default today in UTC)",
    "seed": "The seed of the pseudo-random stream (default 42)",
    "lock_timeout": "Seconds to wait for the seed lock, and for tables in use; 0 tries once (default 300)",
    "pool_size": "Connections the run may open, 2 or more: one holds the lock (DBTOOLS_POOL_SIZE; default 6)",
    "confirm": "The database's name, for one that is marked or on the protect list (with ALLOW_RESET=true)",
    "allow_host": "Another machine (name or address) whose database may be destroyed; may be given several times",
    "json": "Print the result as JSON, nothing else, on standard output",
    "evidence": "Write a transcript to this file: Markdown, fit for a pull request, or a page if it ends in .html",
    "timeout": "Seconds to wait; 0 tries once (default 60)",
    "debug": "Show a traceback with an error",
}
Number = TypeVar("Number", int, float)


@dataclass(frozen=True)
class Options:
    """The options of tasks that reset or seed, as typed: "", None or False if not given."""

    profile: str = ""
    as_of: str = ""
    seed: str = ""
    lock_timeout: str = ""
    pool_size: str = ""
    confirm: str = ""
    allow_host: Sequence[str] | None = None  # with another default, Invoke collects no list
    json: bool = False
    evidence: str = ""
    debug: bool = False


RUN_OPTIONS = tuple(vars(Options()))
"""All of them: what `reset` and `seed` take."""


def option_help(*names: str, **more: str) -> dict[str, str]:
    """Return the help texts of a task's options: shared ones by name, the task's own as given."""
    return {name.replace("_", "-"): HELP[name] for name in names} | more


def task(**options: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Mark a function as a task; `options` are those of Invoke's own decorator of this name.

    `commands.collection` makes the task of it, and `commands.quick` runs it without importing Invoke.
    """

    def decorate(body: Callable[..., None]) -> Callable[..., None]:
        cast("Any", body).task_options = options
        return body

    return decorate


def takes(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a task the options `names` of `Options`; its body gets them as one object, after the context.

    Invoke makes a task's options from its signature, so the wrapper shows a signature with a parameter for each.
    """
    defaults = vars(Options())

    def decorate(body: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(body)
        def wrapper(context: Context, **given: Any) -> None:
            shared = {name: given.pop(name) for name in names if name in given}
            body(context, Options(**shared), **given)

        context, _, *own = inspect.signature(body).parameters.values()
        shared = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=defaults[name]) for name in names]
        own = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own]
        cast("Any", wrapper).__signature__ = inspect.Signature([context, *own, *shared])
        return wrapper

    return decorate


def handle_errors(body: Callable[..., None]) -> Callable[..., None]:
    """Turn an error of a task into three lines on standard error and its exit code.

    With --json it is printed on standard output as well, as {"error": …}; with DBTOOLS_LOG=json, only as a line there.
    """

    @functools.wraps(body)
    def wrapper(context: Context, *arguments: Any, **options: Any) -> None:
        # Invoke turns it off for the sake of tasks.py; without it, what a task imports is compiled in every run.
        sys.dont_write_bytecode = bool(sys.flags.dont_write_bytecode)
        console.accept_any_text()
        console.Console.answered = False
        try:
            _refuse_dry(context)
            with signals_interrupt():
                body(context, *arguments, **options)
            return
        except DbtoolsError as error:
            failure, code = error, error.exit_code
        except BrokenPipeError:
            # The reader of our output is gone, so no message would arrive.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise _exit(None, 1) from None
        except Exception as error:  # the last resort: a traceback only with --debug
            from invoke.exceptions import Exit

            if isinstance(error, Exit):
                raise
            failure = _of_connection(error) or console.unexpected(error)
            failure.__cause__, code = error, failure.exit_code
        except Interruption as error:
            failure, code = error.error, error.exit_code
        text = console.report_failure(failure, code, json=bool(options.get("json")), debug=bool(options.get("debug")))
        raise _exit(text, code)

    return wrapper


def _refuse_dry(context: Context | None) -> None:
    if context is not None and context.config.run.dry:  # without Invoke there is no context
        raise ConfigurationError(
            "--dry does not hold a task of dbtools back.",
            "It is an option of Invoke's, for the shell commands that tasks run, and these run none.",
            "To see whether a reset would work, on a database of its own: invoke doctor --build",
            NOT_RUN,
        )


def _exit(text: str | None, code: int) -> Exception:
    from invoke.exceptions import Exit  # here, so that a run that succeeds can do without Invoke: see commands.quick

    return Exit(text, code)


def _of_connection(error: Exception) -> DbtoolsError | None:
    if "psycopg" not in sys.modules:  # importing it here would hide `error` where the driver itself cannot be imported
        return None
    from dbtools.db.connect import lost
    from dbtools.db.pooler import refusal

    return lost(error) or refusal(error)


def parse_option(name: str, text: str, default: Number, *, low: float) -> Number:
    """Return the number that an option gives, or `default` if it was not given.

    It must be at least `low`, and whole if `default` is an int.

    Raises:
        ConfigurationError: `text` is not such a number.
    """
    return type(default)(config.parse_number(name, text, low=low, whole=isinstance(default, int))) if text else default


def find_project() -> config.Project:
    """Return the project of the folder that `invoke --search-root` names, else of the current one.

    Raises:
        NoProject: Neither it nor a folder above it has a table.
        ConfigurationError: The table is wrong.
    """
    core = getattr(getattr(sys.modules.get("invoke.main"), "program", None), "core", None)  # of the program `invoke`
    root = core[0].args["search-root"].value if core else None
    return config.Project.find(Path(root) if root else None)


def find_dsn(project: config.Project, out: console.Console) -> Dsn:
    """Return the database to work on: DATABASE_URL's, else that of the project's own server, started if necessary.

    Raises:
        ConfigurationError: DATABASE_URL is malformed.
        ServerError: The project's own server did not start.
    """
    found = config.database()
    if found is not None:
        return found
    from dbtools.db.dsn import Dsn
    from dbtools.server.project import start_server

    return Dsn.parse(
        start_server(project.root, project.server, report=out.note).url, source="the embedded server's URL"
    )


def find_target(
    project: config.Project, out: console.Console, options: Options | None = None, *, in_place: bool = False
) -> Target:
    """Return the database to work on and the rules of the run. An option beats its variable, and that pyproject.toml.

    Raises:
        ConfigurationError: An option is not a number, the pool is too small, or DATABASE_URL is malformed.
        ServerError: The project's own server did not start.
    """
    from dbtools.chain.target import GuardRules, Target, Waits
    from dbtools.db.sessions import check_size

    options = options or Options()
    source = "--pool-size" if options.pool_size else "DBTOOLS_POOL_SIZE"
    wanted = options.pool_size or os.environ.get("DBTOOLS_POOL_SIZE", "")
    lock_wait = parse_option("--lock-timeout", options.lock_timeout, float(project.lock_timeout), low=0)
    pool_size = parse_option(source, wanted, project.pool_size, low=1)
    check_size(pool_size)  # before a server is started for nothing
    return Target(
        find_dsn(project, out),
        lock_key=project.lock_key,
        waits=Waits(lock_wait),
        pool_size=pool_size,
        schema=project.schema,
        in_place=in_place or project.strategy == "in-place",
        confirm=options.confirm or None,
        rules=GuardRules(
            (*project.allow_hosts, *_listed("DBTOOLS_ALLOW_HOSTS"), *(options.allow_host or ())),
            (*project.protect, *_listed("DBTOOLS_PROTECT")),
        ),
    )


def become_psql(command: Sequence[str], environment: Mapping[str, str]) -> NoReturn:
    """Become psql, so that its exit code and its signals are ours; what follows -- on our command line goes to it."""
    os.execve(command[0], [*command, *remainder(sys.argv)], environment)  # noqa: S606 - no shell wanted


def remainder(arguments: Sequence[str]) -> list[str]:
    """Return what follows -- on a command line. Invoke's own is one string, without the boundaries of quoted words."""
    return [*arguments[arguments.index("--") + 1 :]] if "--" in arguments else []


def _listed(variable: str) -> list[str]:
    """Return what a variable lists, separated by commas."""
    return [word for word in (text.strip() for text in os.environ.get(variable, "").split(",")) if word]
