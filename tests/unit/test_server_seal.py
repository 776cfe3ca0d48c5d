"""Whether a prepared cluster is as it was made: every file, its length, and the content of those that decide most."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dbtools.server.seal import SEAL, is_whole, seal


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "data/base/1").mkdir(parents=True)
    (tmp_path / "data/pg_wal").mkdir()
    (tmp_path / "data/base/1/1249").write_bytes(b"rows")
    (tmp_path / "data/pg_hba.conf").write_text("local all all scram-sha-256\n")
    (tmp_path / "data/PG_VERSION").write_text("16\n")
    (tmp_path / "link").symlink_to("data/PG_VERSION")
    seal(tmp_path)
    return tmp_path


def test_what_was_not_touched_is_whole(folder: Path) -> None:
    assert is_whole(folder)
    (folder / "data/base/1/1249").write_bytes(b"ROWS")  # its length is the same, and its content is not read
    assert is_whole(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "data/base/1/1249").write_bytes(b"more rows"),
        lambda folder: (folder / "data/base/1/1249").unlink(),
        lambda folder: (folder / "data/base/1/1250").touch(),
        lambda folder: (folder / "data/base/2").mkdir(),
        lambda folder: (folder / "data/pg_wal").rmdir(),
        lambda folder: (folder / "data/pg_hba.conf").write_text("local all all trust        \n"),
        lambda folder: (folder / "data/PG_VERSION").write_text("17\n"),
        lambda folder: (folder / SEAL).unlink(),
        lambda folder: (folder / SEAL).write_text("{"),
        lambda folder: (folder / SEAL).write_text("{}"),
    ],
    ids=["longer", "gone", "more", "folder", "no folder", "rules", "version", "unsealed", "half a seal", "empty seal"],
)
def test_any_change_that_can_be_seen_breaks_the_seal(folder: Path, change: Callable[[Path], object]) -> None:
    change(folder)
    assert not is_whole(folder)


def test_a_folder_that_is_not_there_is_not_whole(tmp_path: Path) -> None:
    assert not is_whole(tmp_path / "nowhere")
