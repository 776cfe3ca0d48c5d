"""Folders of an exact mode, and whose they are."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from dbtools.errors import ServerError
from dbtools.server import folders, run_as
from dbtools.server.run_as import Account


@pytest.fixture(params=[0o000, 0o077], ids=["open", "narrow"])
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


@pytest.mark.usefixtures("umask")
@pytest.mark.parametrize("mode", [folders.PRIVATE, folders.PASSABLE], ids=["private", "passable"])
def test_the_mode_is_exact_and_what_exists_is_left_alone(tmp_path: Path, mode: int) -> None:
    tmp_path.chmod(0o750)
    folders.make(tmp_path / "a" / "b", mode)
    found = [stat.S_IMODE(path.stat().st_mode) for path in (tmp_path, tmp_path / "a", tmp_path / "a" / "b")]
    assert found == [0o750, mode, mode]


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ServerError) as caught:
        folders.make(tmp_path / "file" / "cache", folders.PRIVATE)
    assert caught.value.reason == f"Not a directory: {tmp_path / 'file' / 'cache'}."


def test_a_link_to_somewhere_else_is_not_ours(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ServerError, match="belongs to another account"):
        folders.make_own(tmp_path / "link", folders.PRIVATE)


def test_projects_of_like_names_have_servers_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_as, "SHARED", tmp_path)
    first, second = (
        Account("nobody").server_folder(Path(root) / ".dbtools" / "server-16") for root in ("/a/b-c", "/a-b/c")
    )
    assert first != second
    assert first.parent == second.parent == tmp_path / "lasting"
    assert Account("namespace").server_folder(tmp_path) == tmp_path


def test_where_no_temporary_folder_can_be_written_shared_memory_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> str:
        raise FileNotFoundError

    monkeypatch.setattr("tempfile.gettempdir", nowhere)
    assert folders.temporary_place() == Path("/dev/shm")
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(ServerError) as caught:
        folders.temporary_place()
    assert str(caught.value) == (
        "There is no folder for temporary files.\n"
        "Neither TMPDIR, nor /tmp, nor /dev/shm can be written. Nothing was changed.\n"
        "Mount one at /tmp (in a cluster: an emptyDir), or set TMPDIR."
    )
