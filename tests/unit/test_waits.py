"""How long a run waits for the lock, in which slices, and what it says meanwhile; on a clock of the test's own."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from dbtools.chain import lock as module
from dbtools.chain.lock import SeedLock
from dbtools.chain.target import Waits
from dbtools.db.blockers import Blocker
from dbtools.errors import LockTimeout

ONE, TWO = (Blocker(pid, "seeder", None, None, None, None) for pid in (1, 2))


@pytest.mark.parametrize(
    ("waited", "seconds"),
    [(0.0, 0.25), (0.99, 0.25), (2.0, 0.5), (10.0, 2.5), (20.0, 5.0), (100.0, 5.0), (298.0, 2.0), (299.9, 0.1)],
)
def test_slices_grow_to_a_quarter_of_the_wait_and_to_five_seconds(waited: float, seconds: float) -> None:
    assert Waits().slice_after(waited) == pytest.approx(seconds)


def test_a_slice_follows_the_settings() -> None:
    assert Waits(first_try=1.5).slice_after(0.0) == 1.5
    assert Waits(longest_try=2.0).slice_after(100.0) == 2.0
    assert Waits(lock=1.0, first_try=3.0).slice_after(0.25) == 0.75


def test_what_was_waited_already_is_not_waited_again() -> None:
    waits = Waits(lock=10.0, first_try=1.0, longest_try=2.0, reminder=3.0, sweep=4.0)
    assert waits.after(4.0) == Waits(lock=6.0, first_try=1.0, longest_try=2.0, reminder=3.0, sweep=4.0)
    assert waits.after(11.0).lock == 0.0


class Scripted(SeedLock):
    """A lock without a server: free, or in other hands, when the test says so. A blocking try takes its own time."""

    def __init__(self, holders: Iterator[Blocker | None], tries: int) -> None:
        self.key = 7
        self.slowness = 1.0
        self.now = 1000.0
        self.slices: list[float] = []
        self.told: list[tuple[float, Blocker | None]] = []
        self._holders = holders
        self._tries = tries
        """How many fail."""

    def holder(self) -> Blocker | None:
        return next(self._holders)

    def wait(self, waits: Waits) -> float:
        return self.acquire(waits, lambda holder: self.told.append((self.now - 1000.0, holder)))

    def _take(self, seconds: float = 0.0) -> bool:
        self.slices.append(seconds)
        self.now += seconds * self.slowness
        return len(self.slices) > self._tries


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> type[Scripted]:
    made: list[Scripted] = []

    class Clocked(Scripted):
        def __init__(self, holders: Iterator[Blocker | None], tries: int) -> None:
            super().__init__(holders, tries)
            made.append(self)

    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: made[-1].now))
    return Clocked


def always(holder: Blocker | None) -> Iterator[Blocker | None]:
    while True:
        yield holder


def test_a_free_lock_is_taken_without_a_wait_or_a_word(scripted: type[Scripted]) -> None:
    lock = scripted(always(None), 0)
    assert lock.wait(Waits()) == 0.0
    assert (lock.slices, lock.told) == ([0.0], [])


def test_one_try_without_waiting_then_slices_that_grow(scripted: type[Scripted]) -> None:
    lock = scripted(always(ONE), 8)
    assert lock.wait(Waits(first_try=1.0, longest_try=2.0)) == pytest.approx(sum(lock.slices))
    assert lock.slices == pytest.approx([0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.25, 1.5625, 1.953125])
    assert lock.told == [(0.0, ONE)]


def test_the_last_slice_ends_with_the_time(scripted: type[Scripted]) -> None:
    lock = scripted(always(ONE), 100)
    with pytest.raises(LockTimeout, match=r"within 2\.5 s"):
        lock.wait(Waits(lock=2.5, first_try=1.0))
    assert lock.slices == [0.0, 1.0, 1.0, 0.5]


def test_what_was_asked_for_is_named_not_what_a_slow_machine_made_of_it(scripted: type[Scripted]) -> None:
    lock = scripted(always(ONE), 100)
    lock.slowness = 1.5
    with pytest.raises(LockTimeout, match=r"within 2\.5 s\.\nHeld by pid 1 "):
        lock.wait(Waits(lock=2.5, first_try=1.0))
    assert lock.now == 1003.0


def test_a_person_is_told_again_after_each_reminder_and_no_sooner(scripted: type[Scripted]) -> None:
    lock = scripted(always(ONE), 8)
    lock.wait(Waits(first_try=1.0, longest_try=1.0, reminder=2.5))
    assert lock.told == [(0.0, ONE), (3.0, ONE), (6.0, ONE)]


def test_a_person_is_told_when_the_holder_changes(scripted: type[Scripted]) -> None:
    lock = scripted(iter([None, None, ONE, ONE, TWO, None]), 6)
    lock.wait(Waits(first_try=1.0, longest_try=1.0))
    assert lock.told == [(0.0, None), (2.0, ONE), (4.0, TWO), (5.0, None)]


def test_a_holder_that_has_just_gone_is_not_blamed(scripted: type[Scripted]) -> None:
    with pytest.raises(LockTimeout) as caught:
        scripted(always(None), 1).wait(Waits(lock=0.0))
    assert str(caught.value) == (
        "Could not get the seed advisory lock (key=7) at the first try.\n"
        "It was freed just now, too late for this try. Nothing was changed.\n"
        "Wait longer with --lock-timeout SECONDS."
    )
