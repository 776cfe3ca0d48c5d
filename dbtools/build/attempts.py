"""The attempts of a build: what its steps expect of extensions shows only in how they fail.

Some steps make an extension and fail where it is there, others make it if need be, and others take it for granted.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Protocol, TypeVar

from dbtools.errors import StepFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from dbtools.build.scratch import Scratch
    from dbtools.config import Project
    from dbtools.db.dsn import Dsn

_THERE_ALREADY = re.compile(r'extension "([^"]+)" already exists')
Result_co = TypeVar("Result_co", covariant=True)


class Attempt(Protocol[Result_co]):
    """Runs the steps on a scratch database with the extensions that others made in the target."""

    def __call__(self, *, extensions: bool = False, without: Collection[str] = ()) -> Result_co:
        """With `extensions` those of the target's own role are in it too; those in `without` are not."""


def build_again(attempt: Attempt[Result_co], target: Dsn, note: Callable[[str], None]) -> Result_co:
    """Return what the first attempt that succeeds returns.

    Raises:
        StepFailed: A step failed for another reason, or with other extensions too.
    """
    own: set[str] = set()
    while True:
        try:
            return attempt(without=own)
        except StepFailed as error:
            there = [name for name in _extensions(target) if name not in own]
            twice = _THERE_ALREADY.search(str(error))
            if twice and twice[1] in there:
                own.add(twice[1])
                note(f"Once more, without the extension that the steps make themselves: {twice[1]}")
                continue
            if not _lacks(str(error), there):
                raise
            note(f"Once more, with the extensions that are there: {', '.join(there)}")
            try:
                return attempt(extensions=True)
            except StepFailed:
                raise error from None  # they were not what was missing


def _lacks(text: str, there: Sequence[str]) -> bool:
    """Return whether an error may come from the lack of one of these extensions: programs have words of their own."""
    return bool(there) and (
        "does not exist" in text or any(re.search(rf"\b{re.escape(name)}\b", text) for name in there)
    )


def run_and_keep(run: Callable[[Scratch], None], project: Project, target: Dsn, note: Callable[[str], None]) -> None:
    """Have `run` run the steps on a scratch database that stays; each attempt leaves one.

    Raises:
        StepFailed: A step failed, or did nothing.
        ChainFailed: The role may not create a database.
    """
    from dbtools.build.scratch import scratch_database

    def attempt(*, extensions: bool = False, without: Collection[str] = ()) -> None:
        with scratch_database(
            target, project.schema, project.server, extensions=extensions, without=without, keep=True
        ) as scratch:
            run(scratch)

    build_again(attempt, target, note)


def _extensions(target: Dsn) -> tuple[str, ...]:
    from dbtools.build.place import list_extensions
    from dbtools.db.connect import open_session

    with open_session(target, "build") as session:
        return list_extensions(session)
