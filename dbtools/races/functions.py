"""Functions as actors: plain ones and coroutine functions, with the URL of their database or without."""

from __future__ import annotations

import asyncio
import inspect
import os
from collections import Counter
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from dbtools.build.environment import database_variables
from dbtools.db.dsn import Dsn
from dbtools.errors import NOT_RUN, ConfigurationError
from dbtools.races.scenario import Actor

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from dbtools.config import Project


def make_actors(programs: Sequence[object], project: Project | None, race: str) -> list[Actor]:
    """Return the programs as actors of a race of this name.

    Those that are actors stay as they are; functions go by their names, equal ones with a number. A function is given
    the URL of its database if it has a parameter without a default. In a project, all variables that lead a step to its
    database lead it there.

    Raises:
        ConfigurationError: A program is neither a function that can be called so nor an actor.
    """
    actors = [_actor(program, project, race) for program in programs]
    every, seen = Counter(actor.name for actor in actors), Counter[str]()
    for number, actor in enumerate(actors):
        seen[actor.name] += 1
        if every[actor.name] > 1:
            actors[number] = replace(actor, name=f"{actor.name} {seen[actor.name]}")
    return actors


def _actor(program: object, project: Project | None, race: str) -> Actor:
    if isinstance(program, Actor):
        return program
    if not callable(program):
        raise _no_actor(repr(program), race)
    function = program.func if isinstance(program, partial) else program
    name = str(getattr(function, "__name__", type(function).__name__))
    try:
        parameters = inspect.signature(program).parameters.values()
    except ValueError:  # as of some built-in ones
        raise _no_actor(name, race) from None
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    wanted = [one for one in parameters if one.default is one.empty and one.kind not in variable]
    if len(wanted) > 1 or any(one.kind is one.KEYWORD_ONLY for one in wanted):
        raise _no_actor(f"{name}({', '.join(one.name for one in wanted)})", race)
    return Actor(name, call=_Program(program, bool(wanted), project, dict(os.environ)))


def _no_actor(what: str, race: str) -> ConfigurationError:
    return ConfigurationError(
        f"{what} cannot race in {race}.",
        "Only a function can, or a dbtools.races.Actor; a function takes the URL of its database, or nothing.",
        "Give the function itself, and what else it takes with functools.partial: race(partial(work, 7), work)",
        NOT_RUN,
    )


@dataclass(frozen=True)
class _Program:
    """A function in an actor's process."""

    call: Callable[..., Any]
    takes_url: bool
    project: Project | None
    environ: Mapping[str, str]
    """That of the tests: it shows how the project writes its URLs."""

    def __call__(self, url: str) -> None:
        """Call it, or run the coroutine that it returns."""
        if self.project is not None:
            variables = database_variables(Dsn.parse(url), self.project, self.environ)
            variables.pop("PGSSLMODE", None)  # the proxy declines TLS, so it stays at disable
            os.environ.update(variables)
        result = self.call(*([url] if self.takes_url else []))
        if inspect.iscoroutine(result):
            asyncio.run(result)
