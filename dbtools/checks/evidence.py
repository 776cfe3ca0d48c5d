"""The rounds of both arms, what they show, and how it is put."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from dbtools.checks.round import listed, shorten
from dbtools.words import number_of

if TYPE_CHECKING:
    from dbtools.checks.round import Round

HEADINGS = (
    *("arm", "round", "start", "processes", "failed", "overlaps", "content", "longest wait"),
    "what failed or differs",
)
MAX_WORDS_CHARACTERS = 200
"""How much of a step's own words is shown."""


@dataclass(frozen=True)
class Evidence:
    """The rounds of both arms and the verdicts on them, for an application whose rows dbtools generates.

    The first arm must show the collision, a duplicate key in a table of the application: a check that cannot fail
    proves nothing.
    """

    setting: dict[str, Any]
    unprotected: tuple[Round, ...]
    locked: tuple[Round, ...]

    ARMS: ClassVar = ("unprotected", "locked")
    PROTECTED: ClassVar = "with the lock"

    @property
    def collided(self) -> bool:
        """Whether the first arm has shown what it is for."""
        return any(played.duplicates for played in self.unprotected)

    @property
    def proved(self) -> bool:
        """Whether the collision was seen in the first arm, and not in the second."""
        return self.collided and not self.complaints

    @property
    def complaints(self) -> list[str]:
        """What contradicts the proof; empty if it holds."""
        found = []
        if not self.collided:
            tried = number_of(len(self.unprotected), "unprotected round")
            found.append(f"no duplicate key in {tried}: this check would miss the race")
        return [*found, *self._of_protected()]

    def _of_protected(self) -> list[str]:
        found = []
        for number, played in enumerate(self.locked, 1):
            where = f"round {number} {self.PROTECTED}"
            if played.failures:
                found.append(f"{where}: {listed(played.failures)}")
            if played.overlaps:
                found.append(f"{where}: {played.overlaps} critical sections overlap")
            if errors := played.reads.errors:
                found.append(f"{where}: {len(errors)} of {played.reads.number} reads failed: {listed(Counter(errors))}")
            if not played.same_digest:
                different = ", ".join(played.differences)
                found.append(f"{where}: the content differs from an undisturbed reset's: {different}")
        return found

    def rows(self) -> list[tuple[str, ...]]:
        """Return a row of cells for each round, in the order of HEADINGS."""
        table: list[tuple[str, ...]] = []
        for arm, rounds in zip(self.ARMS, (self.unprotected, self.locked), strict=True):
            for number, played in enumerate(rounds, 1):
                is_locked = rounds is self.locked
                overlaps = str(played.overlaps) if is_locked else "-"
                content = "same" if played.same_digest else "differs"
                longest = f"{max(result.waited for result in played.results):.2f} s" if is_locked else "-"
                counts = (played.start, played.processes, str(played.failed), overlaps)
                table.append((arm, str(number), *counts, content, longest, played.found))
        return table

    def verdicts(self) -> list[str]:
        """Return what the rounds show, one sentence per line."""
        failed = sum(played.failed for played in self.unprotected)
        duplicates = sum(played.duplicates for played in self.unprotected)
        started = sum(len(played.results) for played in self.unprotected)
        return [
            f"Without the lock: {failed} of {started} processes failed, {duplicates} of them on a duplicate key.",
            self._protected(),
            self._read(),
            f"{'✗' if self.complaints else '✓'} The lock is {'NOT ' if self.complaints else ''}proven.",
        ]

    def _protected(self) -> str:
        started = sum(len(played.results) for played in self.locked)
        failed = sum(played.failed for played in self.locked)
        overlaps = number_of(sum(played.overlaps for played in self.locked), "critical section")
        contents = number_of(len({played.digest for played in self.locked}), "distinct content")
        return (
            f"{self.PROTECTED.capitalize()}: {failed} of {started} processes failed, {overlaps} overlapped,"
            f" {contents} after {number_of(len(self.locked), 'round')}."
        )

    def _read(self) -> str:
        failed = sum(len(played.reads.errors) for played in self.locked)
        number = sum(played.reads.number for played in self.locked)
        longest = max(played.reads.longest for played in self.locked)
        took = f", the longest took {longest:.3f} s" if failed < number else ""
        return f"A reader beside them: {failed} of {number} reads failed{took}."

    def to_json(self) -> dict[str, Any]:
        """Return everything for a machine; of a reader, how many reads there were, and the longest in seconds."""
        whole = asdict(self)
        for played, found in zip(self.locked, whole["locked"], strict=True):
            reads = played.reads
            found["reads"] = {"number": reads.number, "errors": reads.errors, "longest": round(reads.longest, 3)}
        for found in whole["unprotected"]:
            del found["reads"]
        return {"proved": self.proved, "collided": self.collided, "complaints": self.complaints, **whole}


@dataclass(frozen=True)
class StepsEvidence(Evidence):
    """The same for a project whose own steps make the content.

    Whether those collide is the project's affair: where no collision is seen, nothing is proven, and nothing is wrong.
    """

    notes: tuple[str, ...] = ()
    """What the processes do one after the other, and what is not compared."""

    ARMS: ClassVar = ("bare", "dbtools")
    PROTECTED: ClassVar = "through dbtools"

    @property
    def collided(self) -> bool:
        """Whether bare processes failed, or left other content, that do not when they run one after the other."""
        return any(played.collisions or played.differences for played in self.unprotected)

    @property
    def complaints(self) -> list[str]:
        """What dbtools did not keep; empty if all is well."""
        return self._of_protected()

    def words(self) -> list[str]:
        """Return each failure of the bare arm once, in the words of the step."""
        found = {
            result.failure: result.error for played in self.unprotected for result in played.results if result.failed
        }
        lines = [shorten(f"{name}: {words}", MAX_WORDS_CHARACTERS) for name, words in sorted(found.items())]
        return ["In the steps' own words:", *(f"  {line}" for line in lines)] if lines else []

    def verdicts(self) -> list[str]:
        """Return what the rounds show, one sentence per line."""
        started = sum(len(played.results) for played in self.unprotected)
        failed = sum(played.failed for played in self.unprotected)
        only = sum(played.collisions for played in self.unprotected)
        differing = sum(bool(played.differences) for played in self.unprotected)
        rounds = len(self.unprotected)
        bare = (
            f"Bare, at once: {failed} of {started} processes failed, {only} of them only at once;"
            f" the content differs after {differing} of {rounds} rounds."
        )
        if self.complaints:
            verdict = "✗ Through dbtools the processes are NOT kept apart."
        elif self.collided:
            verdict = "✓ Bare, the project's steps collide; through dbtools they do not."
        else:
            tried = number_of(rounds, "round")
            verdict = f"· No collision in {tried}; that is no proof of safety. Through dbtools there is none."
        return [*self.words(), *self.notes, bare, self._protected(), self._read(), verdict]
