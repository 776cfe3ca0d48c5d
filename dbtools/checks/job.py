"""The work of one process of verify-concurrency, and how it ended: what parent and worker tell each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Arm = Literal["unprotected", "locked", "bare"]
"""How a process works: dbtools' chain without its lock, the chain as it is shipped, or the project's own steps."""


@dataclass(frozen=True)
class Job:
    """The work of one process."""

    action: str
    """"seed" or "reset"."""
    arm: Arm
    url: str
    """The throwaway database."""
    root: str
    environ: dict[str, str]
    """The variables that decide the rows. Own steps get them beside those of the process."""
    profile: str
    seed: int
    as_of: str
    lock_key: int
    lock_timeout: float
    schema: str
    in_place: bool
    snapshot: str
    """The folder of the snapshot that resets install."""
    seeds: bool
    """Whether the snapshot holds the rows of the seed steps."""
    schemas: list[str]
    """The schemas that a bare reset drops."""
    extensions: list[tuple[str, str]]
    """The extensions that were there before the first step, and the schema of each: a bare reset makes them again."""


@dataclass(frozen=True)
class Result:
    """How one process ended.

    After an error of the server, `sqlstate` is its SQLSTATE and `subject` the name of the constraint or the relation,
    or else of the error's class. Where a step's output has no error of the server, `subject` is its last line.
    """

    action: str
    acquired_at: str = ""
    released_at: str = ""
    waited: float = 0.0
    error: str = ""
    sqlstate: str = ""
    subject: str = ""
    timed_out: bool = False

    @property
    def failed(self) -> bool:
        """Whether the run ended with an error."""
        return bool(self.error)

    @property
    def failure(self) -> str:
        """What it failed on, "23505 invoices_pkey"; "" where it did not fail."""
        return f"{self.sqlstate} {self.subject}".strip() or self.error.partition(".")[0]
