"""What locks and sessions are called in a report."""

from __future__ import annotations

import pytest

from dbtools.db.lock_probe import PREPARED, _describe, lock_name


@pytest.mark.parametrize(
    ("lock", "name"),
    [
        (("advisory", "ExclusiveLock", None, 0, 1196576591, 1), "advisory lock 1196576591"),
        (("advisory", "ExclusiveLock", None, 1, 0, 1), "advisory lock 4294967296"),
        (("advisory", "ExclusiveLock", None, 2**32 - 1, 2**32 - 7, 1), "advisory lock -7"),
        (("advisory", "ExclusiveLock", None, 2**31, 0, 1), f"advisory lock {-(2**63)}"),
        (("advisory", "ExclusiveLock", None, 3, 4, 2), "advisory lock (3, 4)"),
        (("advisory", "ExclusiveLock", None, 2**32 - 1, 2**31, 2), f"advisory lock (-1, {-(2**31)})"),
        (("relation", "RowExclusiveLock", "items"), "RowExclusiveLock on items"),
        (("relation", "AccessShareLock"), "AccessShareLock on a new table"),
        (("transactionid", "ShareLock"), "transaction"),
        (("virtualxid", "ShareLock"), "transaction"),
        (("tuple", "ExclusiveLock", "items"), "row of items"),
        (("tuple", "ExclusiveLock"), "tuple"),
        (("extend", "ExclusiveLock", "items"), "extend"),
    ],
)
def test_a_lock_has_the_same_name_in_every_run(lock: tuple[str, ...], name: str) -> None:
    assert lock_name(*lock) == name  # type: ignore[arg-type]


def test_a_blocker_is_described_as_far_as_it_is_known() -> None:
    assert PREPARED == 0
    assert _describe(PREPARED, None) == "a prepared transaction"
    assert _describe(4711, None) == "pid 4711 (gone)"
    assert _describe(4711, "") == "pid 4711 (no name)"
    assert _describe(4711, "psql") == "pid 4711 (psql)"
