"""Processes that run ahead: what they find is given out in the order in which it is asked for."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, cast

import pytest

from dbtools.errors import NOT_RUN, ConfigurationError, DbtoolsError
from dbtools.races.execution.orphans import children
from dbtools.races.execution.workers import Copied, Task, Workers


def task(number: int) -> Task:
    return cast("Task", (int, (number,)))


@contextmanager
def started(run: Callable[[int], object], count: int = 2) -> Iterator[Callable[..., object]]:
    """Yield a function that asks for the run of a number, and names those that follow."""

    @contextmanager
    def copied() -> Iterator[object]:
        yield lambda task, patience, deadline: run(task[1][0])

    before = children()
    workers = Workers("counter", cast("Copied", copied), count)

    def ask(number: int, *following: int) -> object:
        return workers.run(task(number), map(task, following), 0.0, 0.0)

    try:
        yield ask
    finally:
        workers.close()
        assert children() == before


def noted(folder: Path, number: int) -> None:
    with (folder / str(number)).open("a") as file:
        file.write("x")


def times(folder: Path, numbers: Sequence[int]) -> list[int]:
    return [len((folder / str(number)).read_text()) if (folder / str(number)).exists() else 0 for number in numbers]


def test_one_that_takes_long_is_the_first_all_the_same(tmp_path: Path) -> None:
    def run(number: int) -> object:
        while number == 0 and not (tmp_path / "3").exists():
            time.sleep(0.001)
        noted(tmp_path, number)
        return number, os.getpid()

    with started(run) as ask:
        answers = [cast("tuple[int, int]", ask(number, *range(number + 1, 4))) for number in range(4)]
    assert [number for number, _ in answers] == [0, 1, 2, 3]
    assert len({pid for _, pid in answers[1:]}) == 1, "the other process ran all that followed"
    assert answers[0][1] != answers[1][1]
    assert times(tmp_path, range(4)) == [1, 1, 1, 1]


def test_no_more_is_begun_than_may_be_kept(tmp_path: Path) -> None:
    def run(number: int) -> object:
        while number == 0 and not (tmp_path / "7").exists():
            time.sleep(0.001)
        noted(tmp_path, number)
        return number

    with started(run) as ask:
        assert ask(0, *range(1, 100)) == 0
    assert times(tmp_path, range(1, 7)) == [1] * 6
    assert times(tmp_path, [8, 9, 10]) == [0, 0, 0]


def test_what_no_longer_follows_is_forgotten_and_can_be_run_again(tmp_path: Path) -> None:
    def run(number: int) -> object:
        while number in (0, 2) and not (tmp_path / str(number + 1)).exists():
            time.sleep(0.001)
        noted(tmp_path, number)
        return number

    with started(run) as ask:
        # While 2 waits for 3, the other process gives out 1 and takes 3.
        assert [ask(0, 1), ask(2, 3), ask(4), ask(1)] == [0, 2, 4, 1]
    assert times(tmp_path, range(5)) == [1, 2, 1, 1, 1]


def test_an_error_is_raised_when_its_turn_has_come(tmp_path: Path) -> None:
    wrong = ConfigurationError("The actor b cannot be started: b", "Not there.", "Correct its command.", NOT_RUN)

    def run(number: int) -> object:
        while number == 0 and not (tmp_path / "1").exists():
            time.sleep(0.001)
        noted(tmp_path, number)
        if number == 1:
            raise wrong
        return number

    with started(run) as ask:
        assert ask(0, 1, 2) == 0
        with pytest.raises(ConfigurationError) as error:
            ask(1, 2)
        assert error.value.args == wrong.args
        assert ask(2) == 2


@pytest.mark.parametrize(
    ("end", "how"),
    [
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "It was ended by SIGKILL."),
        (lambda: os._exit(3), "It ended with exit code 3."),
    ],
)
def test_a_process_that_has_ended_is_noticed(end: Callable[[], None], how: str) -> None:
    with started(lambda number: end()) as ask, pytest.raises(DbtoolsError) as error:
        ask(0, 1)
    assert str(error.value) == (
        "A process that ran schedules of counter has ended.\n"
        f"{how} Its server ends with it.\n"
        "Where memory is short, the system may have ended it: run this again, with fewer --jobs."
    )


def test_where_no_copy_can_be_made_no_process_is_left() -> None:
    @contextmanager
    def copied() -> Iterator[Any]:
        raise OSError("No space left on device")
        yield

    before = children()
    with pytest.raises(OSError, match=r"^No space left on device$"):
        Workers("counter", copied, 3)
    assert children() == before


def test_a_process_that_nobody_needs_ends_when_its_parent_does(tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    pid = os.fork()
    if not pid:
        with suppress(BaseException), started(lambda number: number) as ask:
            ask(0)
            os._exit(0)  # without a farewell
        os._exit(1)
    os.close(write_end)
    assert os.waitpid(pid, 0)[1] == 0
    assert os.read(read_end, 1) == b"", "the pipe is closed once all that inherited it have ended"
    os.close(read_end)
