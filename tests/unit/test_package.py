"""A snapshot in a file: what is no part of one is not taken out of it, and a damaged one is refused."""

from __future__ import annotations

import io
import random
import tarfile
from pathlib import Path

import pytest

from dbtools.build.package import unpack
from dbtools.build.snapshot import Snapshot, SnapshotDamaged
from dbtools.errors import ConfigurationError


def archive(path: Path, members: list[tarfile.TarInfo]) -> Path:
    with tarfile.open(path, "w:gz") as file:
        for member in members:
            member.size = 4 if member.isfile() else 0
            file.addfile(member, io.BytesIO(b"evil"))
    return path


def test_no_member_is_written_outside_of_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = tarfile.TarInfo("link")
    link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path)
    names = ("../outside", f"{tmp_path}/outside", "folder/inside", "link/outside", "manifest.json")
    file = archive(tmp_path / "a.dbsnap", [link, *map(tarfile.TarInfo, names)])
    written: list[str] = []
    monkeypatch.setattr(Snapshot, "check", lambda self: written.extend(path.name for path in self.folder.iterdir()))
    with unpack(file):
        pass
    assert written == ["manifest.json"]
    assert not (tmp_path / "outside").exists()


def test_what_is_no_snapshot_is_refused(tmp_path: Path) -> None:
    whole = archive(tmp_path / "whole.dbsnap", [tarfile.TarInfo(f"{number}.copy") for number in range(99)]).read_bytes()
    noise = random.Random(1)  # noqa: S311 - noise
    for number in range(60):
        damaged = bytearray(whole)
        for _ in range(1 + number % 4):
            damaged[noise.randrange(10, len(damaged))] ^= 1 << noise.randrange(8)
        file = tmp_path / "damaged.dbsnap"
        file.write_bytes(damaged[: noise.randrange(20, len(damaged))] if number % 3 else damaged)
        with pytest.raises((ConfigurationError, SnapshotDamaged)) as caught, unpack(file):
            pass
        assert caught.value.what in (
            f"{file} is not a snapshot that can be read.",
            f"The snapshot {file} cannot be used.",
        )
    with pytest.raises(ConfigurationError) as caught, unpack(tmp_path / "none.dbsnap"):
        pass
    assert str(caught.value) == (
        f"{tmp_path}/none.dbsnap is not a snapshot that can be read.\n"
        "No such file or directory. Nothing was changed.\nMake one: invoke snapshot.save FILE"
    )
