"""The folder of the snapshots: a draft is another process's until it has its name, and a full disk is said."""

import errno
import json
import os
from pathlib import Path

import pytest

from dbtools.build import store as module
from dbtools.build.manifest import FORMAT, Manifest
from dbtools.build.snapshot import MANIFEST, PARTS, Snapshot
from dbtools.build.store import LEASE, Store
from dbtools.errors import UNCHANGED, ServerError

MINIMAL = {
    **dict.fromkeys(Manifest.__dataclass_fields__, ()),
    "format": FORMAT,
    "parts": dict.fromkeys(PARTS, ""),
}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "snapshots", 2 << 30)


def test_a_draft_that_is_being_published_is_not_taken_for_one_that_was_left(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def meanwhile(_path: Path) -> None:
        with store.draft():
            pass

    monkeypatch.setattr(module, "_sync", meanwhile)
    with store.draft() as draft:
        (draft / MANIFEST).write_text("{}")
        snapshot = store.publish(draft, "a" * 64, "b" * 64)
    assert [path.name for path in snapshot.folder.iterdir()] == [MANIFEST]
    assert [found.folder for found in store.all()] == [snapshot.folder]


def test_a_draft_whose_maker_was_killed_is_removed(store: Store) -> None:
    left = store.folder / ".draft-left"
    left.mkdir()
    (left / LEASE).touch()
    with store.draft() as draft:
        assert [path for path in store.folder.iterdir() if path.is_dir()] == [draft]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_said(store: Store, number: int) -> None:
    with pytest.raises(ServerError) as caught, store.draft():
        raise OSError(number, "No room")
    assert (caught.value.what, caught.value.why, caught.value.state) == (
        f"The snapshot could not be written to {store.folder}.",
        "No room.",
        UNCHANGED,
    )
    assert (
        caught.value.hint
        == "Make room there: invoke snapshot.list shows what is kept, invoke snapshot.drop removes it."
    )
    assert not [path for path in store.folder.iterdir() if path.is_dir()]


def test_another_error_of_the_system_is_passed_on(store: Store) -> None:
    with pytest.raises(PermissionError), store.draft():
        raise PermissionError(errno.EACCES, "no")


def publish(store: Store, recipe: str, key: str, **options: bool) -> Snapshot:
    with store.draft() as draft:
        (draft / MANIFEST).write_text(json.dumps({**MINIMAL, "recipe": recipe * 64}))
        return store.publish(draft, recipe * 64, key * 64, **options)


def test_a_snapshot_is_found_by_its_recipe_the_one_used_last_first(store: Store) -> None:
    first, second = publish(store, "a", "b"), publish(store, "a", "c")
    other = publish(store, "d", "b")
    for number, snapshot in enumerate((first, second, other), 1):
        os.utime(snapshot.folder / MANIFEST, (number, number))
    assert store.find("a" * 64) == [second, first]
    assert store.find("a" * 16 + "z" * 48) == []
    assert store.all() == [other, second, first]
    store.touch(first)
    assert store.find("a" * 64) == [first, second]
    store.drop(first)
    assert store.all() == [other, second]


def test_a_key_that_is_made_again_replaces_the_first_one(store: Store) -> None:
    first = publish(store, "a", "b")
    (first.folder / "old").touch()
    again = publish(store, "a", "b")
    assert again == first
    assert [path.name for path in again.folder.iterdir()] == [MANIFEST]


def test_what_serves_one_process_is_found_by_no_other(store: Store) -> None:
    snapshot = publish(store, "a", "b", once=True)
    assert [path.name for path in snapshot.folder.iterdir()] == [MANIFEST]
    assert store.all() == []


def test_what_was_used_longest_ago_makes_room_but_never_what_was_just_made(tmp_path: Path) -> None:
    size = len(json.dumps({**MINIMAL, "recipe": "a" * 64}))
    store = Store(tmp_path / "snapshots", 2 * size)
    made = [publish(store, "a", key) for key in "bc"]
    for number, snapshot in enumerate(made, 1):
        os.utime(snapshot.folder / MANIFEST, (number, number))
    newest = publish(store, "a", "d")
    assert store.all() == [newest, made[1]]
    tiny = Store(tmp_path / "snapshots", 1)
    last = publish(tiny, "a", "e")
    assert tiny.all() == [last]


def test_a_folder_that_others_may_write_to_is_not_used(tmp_path: Path) -> None:
    for mode in (0o770, 0o702, 0o700):
        folder = tmp_path / f"{mode:o}"
        publish(Store(folder, 10**6), "a", "b")
        folder.chmod(mode)
        store = Store(folder, 1)
        assert (store.lasting, store.folder == folder, len(store.all())) == (
            mode == 0o700,
            mode == 0o700,
            mode == 0o700,
        )


def test_a_folder_that_can_only_be_read_still_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "snapshots"
    first = publish(Store(folder, 10**6), "a", "b")
    access = os.access
    monkeypatch.setattr("os.access", lambda path, mode: not mode & os.W_OK and access(path, mode))
    store = Store(folder, 10**6)
    assert not store.lasting
    assert [snapshot.folder for snapshot in store.find(first.manifest.recipe)] == [first.folder]
    second = publish(store, "c", "d")
    assert [snapshot.folder for snapshot in store.find(second.manifest.recipe)] == [second.folder]
    assert Store(folder, 10**6).all() == [first]
