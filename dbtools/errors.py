"""Every error dbtools raises on purpose: one family, each with its exit code and a hint.

A message is printed on three lines: *what* could not be done and to what; *why*, with the *state* things are in now;
and the *hint*, the next thing to do. None holds a password.
"""

from __future__ import annotations

from typing import ClassVar

UNCHANGED = "Nothing was changed."
NOT_RUN = "Nothing was run."


class DbtoolsError(Exception):
    """Something dbtools was asked to do could not be done.

    Whoever knows better what state that leaves may set `state`; it is "" where there is nothing to say of it.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, why: str, hint: str, state: str = "") -> None:
        super().__init__(what, why, hint, state)
        self.what = what
        self.why = why
        self.hint = hint
        self.state = state

    @property
    def reason(self) -> str:
        """Why, and the state: the second line."""
        return f"{self.why} {self.state}".strip()

    def __str__(self) -> str:
        return f"{self.what}\n{self.reason}\n{self.hint}"


class ConfigurationError(DbtoolsError):
    """A setting, an option or an argument is wrong; nothing was started."""

    exit_code = 2


class ServerError(DbtoolsError):
    """A PostgreSQL server of the harness could not be started, found or stopped."""

    exit_code = 1


class DatabaseUnreachable(DbtoolsError):
    """The database did not answer in time, or never will."""

    exit_code = 3


class LockTimeout(DbtoolsError):
    """Another session kept the seed lock for longer than we were told to wait."""

    exit_code = 4


class ResetRefused(DbtoolsError):
    """The guard does not let this database be destroyed."""

    exit_code = 5


class VerificationFailed(DbtoolsError):
    """Something was checked and found wrong: a race, a digest, an invariant."""

    exit_code = 6


class ChainFailed(DbtoolsError):
    """A phase of the chain (drop, migrate, seed) failed; the message says what state the database is in."""

    exit_code = 1


class StepFailed(DbtoolsError):
    """A step failed. All but those of `migrate` work on a scratch database, so the live one is as it was."""

    exit_code = 1


class Interrupted(DbtoolsError):
    """A signal ended the run; the exit code is 128 and the signal's number."""
