"""One family of errors: each has its exit code and three parts, and every code is documented."""

from __future__ import annotations

from pathlib import Path

import pytest

from dbtools import errors
from dbtools.db.blockers import Blocker
from dbtools.errors import DbtoolsError

CODES = (Path(__file__).resolve().parent.parent.parent / "docs" / "configuration.md").read_text("utf-8")
FAMILY = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, DbtoolsError)]


def test_exit_codes() -> None:
    assert {one.__name__: one.exit_code for one in FAMILY} == {
        "DbtoolsError": 1,
        "ConfigurationError": 2,
        "ServerError": 1,
        "DatabaseUnreachable": 3,
        "LockTimeout": 4,
        "ResetRefused": 5,
        "VerificationFailed": 6,
        "ChainFailed": 1,
        "StepFailed": 1,
        "Interrupted": 1,
    }


@pytest.mark.parametrize("code", sorted({one.exit_code for one in FAMILY}))
def test_every_code_is_documented(code: int) -> None:
    assert f"\n| {code} | " in CODES


def test_an_error_reads_as_three_lines() -> None:
    error = DbtoolsError("What.", "Why.", "Do this.")
    assert str(error) == "What.\nWhy.\nDo this."
    assert (error.what, error.why, error.hint) == ("What.", "Why.", "Do this.")


def test_a_holder_shows_what_the_server_lets_us_see() -> None:
    full = Blocker(7, "nightly", "ann", "10.0.0.1", "2026-11-23 08:00:00+00", "idle")
    assert str(full) == (
        "pid 7 (application 'nightly', user ann, client 10.0.0.1, state idle, connected 2026-11-23 08:00:00+00)"
    )
    assert str(Blocker(7, None, "ann", None, None, None)) == "pid 7 (user ann)"
