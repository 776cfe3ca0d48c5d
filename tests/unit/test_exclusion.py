"""What the tries of a lock show: only all four answers together say that it excludes."""

from __future__ import annotations

import pytest

from dbtools.checks.exclusion import _wrong

RIGHT = {"taken": True, "again": False, "held": True, "freed": True}


@pytest.mark.parametrize(
    ("tries", "wrong"),
    [
        ({}, ""),
        ({"taken": False}, "cannot be taken, although nobody has it"),
        ({"again": True}, "does not exclude: two sessions have it at once"),
        ({"held": False}, "is not in pg_locks, so its holder cannot be found"),
        ({"freed": False}, "is not freed when its holder lets go of it"),
    ],
)
def test_each_answer_counts(tries: dict[str, bool], wrong: str) -> None:
    assert _wrong(**RIGHT | tries) == wrong
