"""Call a function of the project with what its parameters ask for.

    python run_call.py package.module:function

A parameter is known by its name: `connection` or `conn` is an open connection, which is committed afterwards; `url` or
`dsn` is the database's URL; `engine` is a SQLAlchemy engine. A coroutine function gets the asynchronous kind of each,
and is run.
"""

from __future__ import annotations

import importlib.util
import inspect
import os
import sys
from typing import TYPE_CHECKING, Any, Callable

if TYPE_CHECKING:
    from .lead_failure import fail
else:
    from lead_failure import fail

_CONNECTION, _URL, _ENGINE = ("connection", "conn"), ("url", "dsn"), ("engine",)


def main(name: str) -> None:
    """Import the function `name` as `python -m` in the working directory would, and call it."""
    sys.path[0] = os.getcwd()
    sys.argv = [name]
    module, _, path = name.partition(":")
    function: Any = importlib.import_module(module)
    for part in path.split("."):
        function = getattr(function, part)
    wanted = _wanted(function, name)
    url = os.environ.get("DBTOOLS_LEAD_URL") or os.environ["DATABASE_URL"]
    if inspect.iscoroutinefunction(function):
        import asyncio

        asyncio.run(_call_async(function, wanted, url))
    else:
        _call(function, wanted, url)


def _wanted(function: Callable[..., Any], name: str) -> list[str]:
    """Return the parameters that we give. Others must have a default."""
    wanted = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name in _CONNECTION + _URL + _ENGINE:
            wanted.append(parameter.name)
        elif parameter.default is parameter.empty and parameter.kind not in (
            parameter.VAR_POSITIONAL,
            parameter.VAR_KEYWORD,
        ):
            raise TypeError(
                f"{name} wants a parameter {parameter.name!r}; a call step can give it "
                "connection (or conn), url (or dsn) and engine"
            )
    return wanted


def _call(function: Callable[..., Any], wanted: list[str], url: str) -> None:
    given: dict[str, Any] = {parameter: url for parameter in wanted if parameter in _URL}
    connection = engine = None
    for parameter in wanted:
        if parameter in _CONNECTION:
            connection = given[parameter] = connection or _driver("psycopg", "psycopg2").connect(url)
        elif parameter in _ENGINE:
            from sqlalchemy import create_engine

            engine = given[parameter] = create_engine(_sqlalchemy_url(url, "psycopg", "psycopg2"))
    try:
        function(**given)
        if connection is not None:
            connection.commit()
    finally:
        if connection is not None:
            connection.close()
        if engine is not None:
            engine.dispose()


async def _call_async(function: Callable[..., Any], wanted: list[str], url: str) -> None:
    given: dict[str, Any] = {parameter: url for parameter in wanted if parameter in _URL}
    connection: Any = None
    engine: Any = None
    for parameter in wanted:
        if parameter in _CONNECTION and connection is None:
            driver = _driver("psycopg", "asyncpg")
            connect = driver.connect if driver.__name__ == "asyncpg" else driver.AsyncConnection.connect
            connection = await connect(url)
        elif parameter in _ENGINE:
            from sqlalchemy.ext.asyncio import create_async_engine

            engine = given[parameter] = create_async_engine(_sqlalchemy_url(url, "psycopg", "asyncpg"))
        if parameter in _CONNECTION:
            given[parameter] = connection
    try:
        await function(**given)
        if hasattr(connection, "commit"):  # asyncpg commits each statement by itself
            await connection.commit()
    finally:
        if connection is not None:
            await connection.close()
        if engine is not None:
            await engine.dispose()


def _driver(*names: str) -> Any:
    """Return the first of these modules that is installed."""
    for name in names:
        if importlib.util.find_spec(name):
            return importlib.import_module(name)
    raise ModuleNotFoundError(
        f"a connection needs one of these packages in the project's environment: {', '.join(names)}"
    )


def _sqlalchemy_url(url: str, *drivers: str) -> str:
    return f"postgresql+{_driver(*drivers).__name__}://{url.partition('://')[2]}"


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except Exception as error:  # noqa: BLE001 - anything may come from the project
        fail(error)
