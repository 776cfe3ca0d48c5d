"""Temporary folders of builds: gone at the end, and also after kill -9."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dbtools.build.temporary import LEASE, TemporaryFolder, temporary_folder

HOLD = """
import sys
from dbtools.build.temporary import TemporaryFolder
folder = TemporaryFolder()
(folder.path / "rows").write_text("data")
print(folder.path, flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    return tmp_path


def test_a_folder_is_its_owners_and_gone_at_the_end(place: Path) -> None:
    with temporary_folder() as folder:
        (folder / "rows").write_text("data", "utf-8")
        (top,) = place.iterdir()
        assert top.stat().st_mode & 0o777 == 0o700
        assert folder.is_relative_to(top)
    assert list(place.iterdir()) == []
    made = TemporaryFolder()
    made.close()
    made.close()
    del made
    assert list(place.iterdir()) == []


def test_what_a_killed_process_left_is_removed_by_the_next_and_what_lives_is_not(place: Path) -> None:
    holders = [
        subprocess.Popen([sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    killed, alive = holders
    paths = [Path(holder.stdout.readline().strip()) for holder in holders if holder.stdout]
    killed.kill()
    killed.communicate()
    assert (paths[0] / "rows").exists()
    with temporary_folder():
        assert not paths[0].parent.exists()
        assert (paths[1] / "rows").exists()
    alive.communicate("")
    assert list(place.iterdir()) == []


def test_a_folder_without_a_lease_is_left_to_its_maker_for_a_minute(place: Path) -> None:
    young = place / f"dbtools-{os.geteuid()}-build-young"
    old = place / f"dbtools-{os.geteuid()}-build-old"
    for path in (young, old):
        path.mkdir()
    os.utime(old, (time.time() - 90, time.time() - 90))
    with temporary_folder():
        assert young.exists()
        assert not old.exists()
    (young / LEASE).touch()
    with temporary_folder():
        assert not young.exists()
