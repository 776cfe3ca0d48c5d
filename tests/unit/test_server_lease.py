"""What a lease tells of its owner."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from pathlib import Path

import pytest

from dbtools.server.lease import Lease, Membership, is_held, wait_until_free

ROOT = Path(__file__).resolve().parent.parent.parent

OWNER = """
import pathlib, sys, time
from dbtools.server.lease import Lease
lease = Lease(pathlib.Path(sys.argv[1]))
print(flush=True)
time.sleep(60)
"""


def test_a_lease_ends_with_its_owner_also_by_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "lease"
    assert is_held(path) is None
    with subprocess.Popen([sys.executable, "-c", OWNER, path], cwd=ROOT, text=True, stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        owner.stdout.readline()
        assert is_held(path) is True
        owner.kill()
    assert is_held(path) is False


def test_a_lease_is_never_there_unlocked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, there = tmp_path / "lease", list[bool]()
    lock = fcntl.flock

    def look(handle: int, how: int) -> None:
        there.append(path.exists())
        lock(handle, how)

    monkeypatch.setattr("fcntl.flock", look)
    lease = Lease(path)
    assert there == [False]
    assert [found.name for found in tmp_path.iterdir()] == ["lease"]
    assert is_held(path) is True
    lease.close()


def test_a_lease_may_be_closed_twice(tmp_path: Path) -> None:
    lease = Lease(tmp_path / "lease")
    assert is_held(lease.path) is True
    lease.close()
    lease.close()
    assert is_held(lease.path) is False


MEMBER = """
import os, pathlib, sys, time
from dbtools.server.lease import Membership
membership = Membership(pathlib.Path(sys.argv[1]))
if os.fork() == 0:
    sys.stdin.read()  # a child that a test has left does not count
    os._exit(0)
print(flush=True)
time.sleep(60)
"""


def test_members_hold_a_file_together_until_the_last_has_ended(tmp_path: Path) -> None:
    path = tmp_path / "members"
    own = Membership(path)
    command = [sys.executable, "-c", MEMBER, str(path)]
    with subprocess.Popen(command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        own.close()
        own.close()
        assert is_held(path) is True
        other.kill()
        other.wait()
        wait_until_free(path)
        assert is_held(path) is False
