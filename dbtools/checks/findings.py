"""What the doctor finds, and what that says of a reset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from dbtools.db.secrets import mask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dbtools.errors import DbtoolsError

MARKS = {True: "✓", False: "✗", None: "·"}
IN_DOUBT = "?"


@dataclass(frozen=True)
class Finding:
    """The result of one check. `passed` is None for a fact that neither passes nor fails."""

    name: str
    passed: bool | None
    detail: str
    """One line."""
    why: str = ""
    hint: str = ""
    """What to do next."""
    in_doubt: bool = False
    """Whether it may stop a reset, which shows only when the steps have run. `passed` is None then."""
    about: Literal["reset", "data", "lock"] = "reset"
    """What it speaks of. Data that breaks a rule stops no reset, nor does a session lock that protects nothing."""

    @classmethod
    def of(cls, name: str, error: DbtoolsError, *, stops: bool = True, in_doubt: bool = False) -> Finding:
        """Return the finding that a reset ends with this error or, unless it `stops` one, that something else would."""
        return cls(name, False if stops else None, error.what, error.why, error.hint, in_doubt)

    def __str__(self) -> str:
        below = [line for text in (self.why, self.hint) for line in text.splitlines()]
        mark = IN_DOUBT if self.in_doubt else MARKS[self.passed]
        return mask("\n  ".join([f"{mark} {self.name}: {self.detail}", *below]))

    def to_json(self) -> dict[str, object]:
        """Return the finding for a machine."""
        return {
            "name": self.name,
            "good": self.passed,
            "detail": mask(self.detail),
            "why": mask(self.why),
            "hint": mask(self.hint),
            "in_doubt": self.in_doubt,
            "about": self.about,
        }


@dataclass(frozen=True)
class Verdict:
    """Whether a reset would work."""

    works: bool | None
    """None: nothing was found that would stop it, and not everything could be tried."""
    text: str
    is_sound: bool
    """Whether nothing is wrong at all: a reset is not stopped, no rule of the data is broken, every lock excludes."""


def judge(findings: Sequence[Finding]) -> Verdict:
    """Return what the findings of an examination say together."""
    failed = [finding.name for finding in findings if finding.passed is False and finding.about == "reset"]
    broken = [finding.name for finding in findings if finding.passed is False and finding.about == "data"]
    open_locks = [finding.name for finding in findings if finding.passed is False and finding.about == "lock"]
    doubts = [finding.name for finding in findings if finding.in_doubt]
    after = f" It would replace the data, which is not sound: {_listed(broken)}." if broken else ""
    if open_locks:
        after += f" Other work is not protected: {_listed(open_locks)}."
    is_sound = not (broken or open_locks)
    if failed:
        return Verdict(False, f"✗ A reset will not work here: {_listed(failed)}.", is_sound=False)
    if doubts:
        text = f"? Nothing was found that stops a reset; in doubt: {_listed(doubts)}.{after}"
        return Verdict(None, f"{text} To try it aside: invoke doctor --build", is_sound=is_sound)
    return Verdict(True, f"✓ A reset will work here.{after}", is_sound=is_sound)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(names))
