"""The attempts of a build: what its steps expect of extensions shows only in how they fail.

Some steps make an extension and fail where it is there, others make it if need be, and others take it for granted.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Protocol

from dbtools.errors import StepFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from dbtools.build.snapshot import Snapshot

_THERE_ALREADY = re.compile(r'extension "([^"]+)" already exists')


class Attempt(Protocol):
    """Builds on a scratch database with the extensions that others made in the target."""

    def __call__(self, *, extensions: bool = False, without: Collection[str] = ()) -> Snapshot:
        """With `extensions` those of the target's own role are in it too; those in `without` are not."""


def build_again(attempt: Attempt, there: Sequence[str], note: Callable[[str], None]) -> Snapshot:
    """Return what the first attempt that succeeds has built. `there` are the target's extensions.

    Raises:
        StepFailed: A step failed for another reason, or with other extensions too.
    """
    own: set[str] = set()
    while True:
        try:
            return attempt(without=own)
        except StepFailed as error:
            twice = _THERE_ALREADY.search(str(error))
            if twice and twice[1] in {*there} - own:
                own.add(twice[1])
                note(f"Once more, without the extension that the steps make themselves: {twice[1]}")
                continue
            if not there or "does not exist" not in str(error):
                raise
            note(f"Once more, with the extensions that are there: {', '.join(there)}")
            try:
                return attempt(extensions=True)
            except StepFailed:
                raise error from None  # they were not what was missing
