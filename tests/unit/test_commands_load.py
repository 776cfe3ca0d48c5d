"""The options of `invoke load`, and what it shows of its progress."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections import Counter
from itertools import chain
from typing import TYPE_CHECKING

import pytest

from dbtools.chain.blocks import Job, Share
from dbtools.commands.load import describe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dbtools.dataset import Dataset, TableText

SHOW = "from dbtools.console import Console; out = Console(quiet={}); out.progress('1 %'); out.progress('')"


def test_shares_have_each_block_once() -> None:
    for blocks in range(1, 30):
        for of in range(1, blocks + 1):
            shares = [Share(number, of).blocks(blocks) for number in range(1, of + 1)]
            assert [*chain(*shares)] == [*range(blocks)]
            assert max(map(len, shares)) - min(map(len, shares)) <= 1


class Nothing:
    """A load of which nothing is asked."""

    base: Dataset
    blocks = 8

    def block(self, number: int) -> Sequence[TableText]:
        raise NotImplementedError


def test_progress_has_rows_rate_and_time_left() -> None:
    job = Job(Nothing(), range(8))
    assert describe(job, 2.0) == "[------------------------] 0 %, 0 rows"
    for _ in range(2):
        job.add(Counter(items=600_000, notes=900_000), 1)
    assert job.bytes == 2
    assert describe(job, 30.0) == "[######------------------] 25 %, 3,000,000 rows, 100,000 rows/s, 1:30 left"


def test_a_run_that_is_over_deals_no_more_blocks() -> None:
    job = Job(Nothing(), range(8))
    dealt = job.deal()
    assert next(dealt) == 0
    job.over.set()
    assert [*dealt] == []


@pytest.mark.parametrize(
    ("quiet", "log", "shown"), [(False, "", "\r\x1b[K1 %\r\x1b[K"), (True, "", ""), (False, "json", "")]
)
def test_progress_is_for_a_terminal(quiet: bool, log: str, shown: str) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", SHOW.format(quiet)]
    environ = os.environ | {"DBTOOLS_LOG": log}
    subprocess.run(command, env=environ, stderr=theirs, check=True)
    os.write(theirs, b".")  # so that there is something to read
    read = b""
    while not read.endswith(b"."):
        read += os.read(ours, 100)
    assert read.decode() == f"{shown}."
    os.close(ours)
    os.close(theirs)
    piped = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
    assert (piped.stdout, piped.stderr) == ("", "")
