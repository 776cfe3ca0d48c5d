"""Rows computed in a forked child: the same rows, the same errors, and no child left behind."""

from __future__ import annotations

import datetime as dt
import os
import signal
import threading

import pytest

from dbtools.chain.copy import encode
from dbtools.chain.prefetch import generate_in_background
from dbtools.config import SeedPlan
from dbtools.dataset import Dataset, TableRows
from dbtools.errors import ConfigurationError
from tests.support.toy import ToyShop

PLAN = SeedPlan("large", dt.date(2026, 11, 23))


class Broken(ToyShop):
    """An application whose generator fails."""

    def generate(self, profile: str, seed: int, as_of: dt.date) -> Dataset:
        raise ValueError("no such shop")


class Where(ToyShop):
    """An application that says in which process it generated."""

    def generate(self, profile: str, seed: int, as_of: dt.date) -> Dataset:
        return Dataset((), (str(os.getpid()),))


def expected() -> object:
    dataset = ToyShop().generate("large", 42, PLAN.as_of)
    return encode(dataset), dataset.summary


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The process ids of the children forked in the test."""
    forked: list[int] = []
    fork = os.fork

    def remember() -> int:
        child = fork()
        if child:
            forked.append(child)
        return child

    monkeypatch.setattr(os, "fork", remember)
    return forked


def is_gone(child: int) -> bool:
    try:
        os.waitpid(child, os.WNOHANG)
    except ChildProcessError:
        return True
    return False


def test_the_rows_are_those_of_the_application(children: list[int]) -> None:
    with generate_in_background(ToyShop(), PLAN) as rows:
        assert rows.copy_data() == expected()
        assert rows.copy_data() is rows.copy_data()
    (child,) = children
    assert is_gone(child)


def test_another_process_computes_them() -> None:
    with generate_in_background(Where(), PLAN) as rows:
        assert rows.copy_data()[1] != (str(os.getpid()),)


class Deaf(ToyShop):
    """An application that says which signals its process does not get now."""

    def generate(self, profile: str, seed: int, as_of: dt.date) -> Dataset:
        return Dataset((), tuple(sorted(map(str, map(int, signal.pthread_sigmask(signal.SIG_BLOCK, ()))))))


def test_a_signal_reaches_this_process_and_not_the_child() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    with generate_in_background(Deaf(), PLAN) as rows:
        assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before
        assert rows.copy_data()[1] == ("1", "15", "2")  # SIGHUP, SIGTERM, SIGINT


def test_beside_other_threads_nothing_is_forked() -> None:
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    try:
        with generate_in_background(Where(), PLAN) as rows:
            assert rows.copy_data()[1] == (str(os.getpid()),)
    finally:
        done.set()
        thread.join()


def test_an_error_is_raised_where_the_rows_are_asked_for(children: list[int]) -> None:
    with generate_in_background(Broken(), PLAN) as rows, pytest.raises(ValueError, match="no such shop"):
        rows.copy_data()
    assert is_gone(children[0])


def test_rows_that_nobody_asks_for_leave_no_child(children: list[int]) -> None:
    with generate_in_background(ToyShop(), PLAN):
        pass
    assert is_gone(children[0])


def test_a_child_that_was_killed_is_made_up_for(children: list[int]) -> None:
    with generate_in_background(ToyShop(), PLAN) as rows:
        os.kill(children[0], signal.SIGKILL)
        assert rows.copy_data() == expected()
    assert is_gone(children[0])


def test_known_users_are_inserted_not_copied() -> None:
    with generate_in_background(ToyShop(), SeedPlan("small", PLAN.as_of, known_users_only=True)) as rows:
        assert rows.copy_data() == ((), ())
        assert [one.table for one in rows.missing.tables] == ["shops"]


class Plain:
    """An application that has rows, and nothing else."""

    profiles = ("all",)

    def generate(self, profile: str, seed: int, as_of: dt.date) -> Dataset:
        return Dataset((TableRows("t", ("a",), [(seed,)]),))


def test_an_application_may_have_rows_alone() -> None:
    with generate_in_background(Plain(), SeedPlan("all", dt.date(2026, 1, 1), 7)) as rows:
        assert rows.copy_data().tables[0].data == b"7\n"
        assert rows.missing == Dataset(())
    only = SeedPlan("all", dt.date(2026, 1, 1), known_users_only=True)
    with pytest.raises(ConfigurationError) as caught, generate_in_background(Plain(), only):
        pass
    assert str(caught.value) == (
        "There are no known users.\nPlain has no method known_users. Nothing was changed.\n"
        "Seed without --known-users-only; and unset SEED_KNOWN_USERS_ONLY."
    )


def test_no_application_is_no_rows() -> None:
    with generate_in_background(None, SeedPlan("", dt.date(2026, 1, 1))) as rows:
        assert rows.copy_data().tables == ()
