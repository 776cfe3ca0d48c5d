"""What an isolation spec holds: sessions with their steps, and the permutations to run the steps in.

The names are those of PostgreSQL's isolationtester.h. Text is kept as it is in the file, byte for byte: what is not
UTF-8 survives as surrogates, and `encode` gives the bytes back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

ENCODING = ("utf-8", "surrogateescape")


def encode(text: str) -> bytes:
    """Return the bytes that a text of a spec has in its file."""
    return text.encode(*ENCODING)


@dataclass(frozen=True)
class Step:
    """One block of SQL, sent to its session as one simple query."""

    name: str
    sql: str
    session: int
    """The index of its session."""
    line: int


@dataclass(frozen=True)
class Session:
    """One connection of the test and its steps in the order of the file."""

    name: str
    setup: str | None
    steps: tuple[Step, ...]
    teardown: str | None


@dataclass(frozen=True)
class Once:
    """The blocker `*` (PSB_ONCE): at first the step is reported as waiting, whether or not it waits."""


@dataclass(frozen=True)
class OtherStep:
    """The blocker `STEP` (PSB_OTHER_STEP): no report before that step has been reported."""

    step: Step


@dataclass(frozen=True)
class NumNotices:
    """The blocker `STEP notices N` (PSB_NUM_NOTICES): no report before the session of that step has sent N notices.

    Notices count from the moment at which the step with this blocker is sent.
    """

    step: Step
    count: int


PermutationStepBlocker: TypeAlias = Once | OtherStep | NumNotices
"""A marker in parentheses after a step of a permutation: it delays the report of the step's end."""


@dataclass(frozen=True, eq=False)
class PermutationStep:
    """A step at one position of one permutation. The same step may stand at several."""

    step: Step
    blockers: tuple[PermutationStepBlocker, ...] = ()


Permutation: TypeAlias = tuple[PermutationStep, ...]


@dataclass(frozen=True)
class Spec:
    """A whole file (TestSpec)."""

    name: str
    setups: tuple[str, ...]
    teardown: str | None
    sessions: tuple[Session, ...]
    permutations: tuple[Permutation, ...]
    """Those that the file lists; empty where it lists none."""

    def permutations_to_run(self) -> Iterator[Permutation]:
        """Yield the listed permutations; where none is listed, every interleaving of the sessions' steps."""
        if self.permutations:
            yield from self.permutations
        else:
            yield from interleavings(
                tuple(tuple(PermutationStep(step) for step in session.steps) for session in self.sessions)
            )

    def unused_steps(self) -> list[str]:
        """Return the names of the steps that no listed permutation uses, sorted by their bytes."""
        if not self.permutations:
            return []
        used = {pstep.step.name for permutation in self.permutations for pstep in permutation}
        names = (step.name for session in self.sessions for step in session.steps)
        return sorted((name for name in names if name not in used), key=encode)


def interleavings(piles: tuple[Permutation, ...]) -> Iterator[Permutation]:
    """Yield every merge of the piles that keeps the order within each: depth first, the first pile first."""
    if not any(piles):
        yield ()
    for index, pile in enumerate(piles):
        if pile:
            for rest in interleavings((*piles[:index], pile[1:], *piles[index + 1 :])):
                yield (pile[0], *rest)
