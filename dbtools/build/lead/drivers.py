"""Lead what each driver opens: one place in each, through which all its connections come.

A driver whose place is not found, in a version unknown here, fails at its import: it is not let through. SQLAlchemy,
Django, pools and the like go through these drivers; SQLite and other servers are none of our business.
"""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, Callable, Mapping

from .target import describe, parse

if TYPE_CHECKING:
    from .record import Record
    from .target import Target

_SQLALCHEMY_DRIVERS = ("psycopg", "psycopg_async", "psycopg2", "asyncpg", "pg8000", "aiopg")


class Refused(RuntimeError):
    """A connection that would reach the database that the project's settings name."""


class Driver:
    """What all drivers have in common: the target, the fence (the key of an advisory lock), the record."""

    def __init__(self, target: Target, fence: int | None, record: Record | None) -> None:
        self.target = target
        self.fence = None if fence is None else f"select pg_advisory_lock_shared({fence})"
        self._record = record

    def led(self, driver: str, given: Mapping[str, Any]) -> None:
        """Record a connection that is led."""
        if self._record:
            self._record.write("led", describe(driver, given))


def lead_module(module: Any, target: Target, fence: int | None, record: Record | None) -> None:
    """Lead what the module opens.

    Raises:
        ImportError: It is another client, which cannot be led. A library that can also use a driver goes on with that.
        Refused: It is a driver in which our place is not found.
    """
    name = module.__name__
    if name not in _LEADERS:
        raise ImportError(f"dbtools cannot lead {name} to its database, so it cannot be used in a step")
    try:
        _LEADERS[name](Driver(target, fence, record), module)
    except (AttributeError, KeyError) as error:
        version = getattr(module, "__version__", "of an unknown version")
        raise Refused(
            f"dbtools cannot lead {name} {version} to its database: it opens connections in an unknown way"
        ) from error


def _guard_sqlalchemy(_driver: Driver, _module: Any) -> None:
    """Refuse engines whose driver is not led: the dialect tells what no import does."""
    from sqlalchemy import event  # imported by now
    from sqlalchemy.engine import Engine

    def guard(dialect: Any, _record: Any, _arguments: Any, _parameters: Any) -> None:
        if dialect.name == "postgresql" and dialect.driver not in _SQLALCHEMY_DRIVERS:
            raise Refused(f"dbtools cannot lead the driver {dialect.driver} of this engine to its database")

    event.listen(Engine, "do_connect", guard)


def _lead_psycopg(driver: Driver, psycopg: Any) -> None:
    """Lead psycopg 3: the class methods `connect`, which its pools call too."""
    sync = psycopg.Connection.__dict__["connect"].__func__
    asynchronous = psycopg.AsyncConnection.__dict__["connect"].__func__
    tuples = psycopg.rows.tuple_row  # for our own cursors, which are not of the kind that the project chose

    def arguments(original: Any, conninfo: str, given: dict[str, Any]) -> dict[str, Any]:
        own = {name: given.pop(name) for name in original.__kwdefaults__ if name in given}
        values = psycopg.conninfo.conninfo_to_dict(conninfo, **given)
        driver.led("psycopg", values)
        return {**driver.target.libpq(values), **own}

    @functools.wraps(sync)
    def connect(cls: Any, /, conninfo: str = "", **given: Any) -> Any:
        connection = sync(cls, "", **arguments(sync, conninfo, given))
        if driver.fence:
            autocommit, connection.autocommit = connection.autocommit, True
            psycopg.Cursor(connection, row_factory=tuples).execute(driver.fence)
            connection.autocommit = autocommit
        return connection

    @functools.wraps(asynchronous)
    async def connect_async(cls: Any, /, conninfo: str = "", **given: Any) -> Any:
        connection = await asynchronous(cls, "", **arguments(asynchronous, conninfo, given))
        if driver.fence:
            autocommit = connection.autocommit
            await connection.set_autocommit(True)
            await psycopg.AsyncCursor(connection, row_factory=tuples).execute(driver.fence)
            await connection.set_autocommit(autocommit)
        return connection

    psycopg.Connection.connect = classmethod(connect)
    psycopg.AsyncConnection.connect = classmethod(connect_async)
    psycopg.connect = psycopg.Connection.connect


def _lead_psycopg2(driver: Driver, psycopg2: Any) -> None:
    """Lead psycopg2: the C function behind `connect`, and the C class, which may be called without it."""
    extensions, native = psycopg2.extensions, psycopg2._psycopg  # noqa: SLF001
    original, base = native._connect, native.connection  # noqa: SLF001
    psycopg2._connect  # noqa: B018, SLF001 - what psycopg2.connect calls: it must be there to be replaced
    ours: set[str] = set()

    def lead(dsn: str) -> str:
        if dsn in ours:
            return dsn
        values = extensions.parse_dsn(dsn)
        driver.led("psycopg2", values)
        led: str = extensions.make_dsn(**driver.target.libpq(values))
        ours.add(led)
        return led

    class connection(base):  # type: ignore[misc, valid-type] # a class of a C module  # noqa: N801 - as psycopg2 calls it
        __doc__ = base.__doc__
        __module__ = base.__module__

        def __init__(self, dsn: str, *arguments: Any, **keywords: Any) -> None:
            super().__init__(lead(dsn), *arguments, **keywords)
            if driver.fence:
                if self.async_:
                    raise Refused("dbtools cannot fence an asynchronous connection of psycopg2")
                self.autocommit = True
                with native.cursor(self) as cursor:
                    cursor.execute(driver.fence)
                self.autocommit = False

    @functools.wraps(original)
    def connect(dsn: str, connection_factory: Any = None, **keywords: Any) -> Any:
        return original(lead(dsn), connection_factory=connection_factory or connection, **keywords)

    native._connect = psycopg2._connect = connect  # noqa: SLF001
    native.connection = extensions.connection = connection


def _lead_asyncpg(driver: Driver, asyncpg: Any) -> None:
    """Lead asyncpg: the coroutine to which `connect` and the pool come."""
    utils = asyncpg.connect_utils
    original = utils._connect  # noqa: SLF001
    reset_name = "get_reset_query" if hasattr(asyncpg.Connection, "get_reset_query") else "_get_reset_query"  # older
    reset_query = getattr(asyncpg.Connection, reset_name)

    @functools.wraps(original)
    async def connect(**given: Any) -> Any:
        driver.led("asyncpg", _asyncpg_place(given))
        connection = await original(**driver.target.asyncpg(given))
        if driver.fence:
            await asyncpg.Connection.execute(connection, driver.fence)
        return connection

    @functools.wraps(reset_query)
    def get_reset_query(self: Any) -> str:
        # A pool resets a connection that it takes back, and with it all advisory locks.
        return f"{reset_query(self)}\n{driver.fence};"

    utils._connect = connect  # noqa: SLF001
    if driver.fence:
        setattr(asyncpg.Connection, reset_name, get_reset_query)


def _asyncpg_place(given: Mapping[str, Any]) -> dict[str, Any]:
    place = parse(given["dsn"]) if given.get("dsn") else {}
    place.update((name, given[name]) for name in ("host", "port", "user", "service") if given.get(name))
    if given.get("database"):
        place["dbname"] = given["database"]
    return place


def _lead_pg8000(driver: Driver, pg8000: Any) -> None:
    """Lead pg8000: the constructor of the connection below its DB-API and its native interface."""
    core = pg8000.core
    base = getattr(core, "CoreConnection", None) or core.Connection  # Connection: before 1.17
    original = base.__init__
    signature = inspect.signature(original)
    version = tuple(int(part) for part in pg8000.__version__.split(".")[:2])
    no_tls = False if version >= (1, 31) else None
    for name in ("user", "host", "database", "port", "password", "unix_sock"):
        signature.parameters[name]

    @functools.wraps(original)
    def init(self: Any, *arguments: Any, **keywords: Any) -> None:
        bound = signature.bind(self, *arguments, **keywords)
        bound.apply_defaults()
        given = dict(bound.arguments)
        given.pop("self")
        driver.led("pg8000", given)
        original(self, **driver.target.pg8000(given, no_tls))
        if driver.fence and hasattr(self, "execute_simple"):  # below the DB-API, which would begin a transaction
            self.execute_simple(driver.fence)
        elif driver.fence:
            self.autocommit = True
            self.run(driver.fence)
            self.autocommit = False

    base.__init__ = init


_LEADERS: dict[str, Callable[[Driver, Any], None]] = {
    "psycopg": _lead_psycopg,
    "psycopg2": _lead_psycopg2,
    "asyncpg": _lead_asyncpg,
    "pg8000": _lead_pg8000,
    "sqlalchemy": _guard_sqlalchemy,
}
