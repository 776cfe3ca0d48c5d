"""How a snapshot's SQL gets the names of schemas, and which folder is a snapshot."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import pytest

from dbtools.build.manifest import FORMAT, EnumType, Extension, Manifest, SequencePosition, TableData
from dbtools.build.placeholders import translator
from dbtools.build.snapshot import MANIFEST, PARTS, Snapshot, SnapshotDamaged

NAMES = ("shop", '"l\'\\edger"')


@pytest.mark.parametrize(
    ("sql", "translated"),
    [
        ("create table dbtools_snap_0.t ()", "create table shop.t ()"),
        ("create table dbtools_snap_1.t ()", 'create table "l\'\\edger".t ()'),
        ("nextval('dbtools_snap_1.s')", "nextval('\"l''\\edger\".s')"),
        ("nextval(E'dbtools_snap_1.s')", "nextval(E'\"l''\\\\edger\".s')"),
        ("-- Name: dbtools_snap_0; Type: x\ndbtools_snap_0.t", "-- Name: dbtools_snap_0; Type: x\nshop.t"),
        ("my_dbtools_snap_0.t", "my_dbtools_snap_0.t"),
        ("x dbtools_enum_0.mood", "x live.mood"),
        ("x dbtools_enum_0.other", "x shop.other"),
        ("x dbtools_enum_1.mood", 'x "l\'\\edger".mood'),
        ('x dbtools_enum_0."a ""b"""', 'x live2."a ""b"""'),
    ],
)
def test_placeholders_become_names_wherever_they_stand(sql: str, translated: str) -> None:
    taken = {(0, "mood"): "live.mood", (0, '"a ""b"""'): 'live2."a ""b"""'}
    assert translator(NAMES, taken)(sql) == translated


def write(folder: Path, **changes: object) -> Snapshot:
    parts = {}
    for part in PARTS:
        (folder / part).write_bytes(part.encode())
        parts[part] = hashlib.sha256(part.encode()).hexdigest()
    values = {**dict.fromkeys(Manifest.__dataclass_fields__, ()), "format": FORMAT, "parts": parts, **changes}
    (folder / MANIFEST).write_text(json.dumps(values))
    return Snapshot(folder)


def test_a_whole_snapshot_is_accepted_and_each_damage_named(tmp_path: Path) -> None:
    write(tmp_path).check()
    assert write(tmp_path).bytes == sum(len((tmp_path / name).read_bytes()) for name in (*PARTS, MANIFEST))
    assert write(tmp_path).sql(PARTS[0], str.upper) == PARTS[0].upper()
    rows = TableData(0, "t", (), 1, "000-t.copy", "0")
    (tmp_path / rows.file).touch()
    with pytest.raises(SnapshotDamaged, match="000-t.copy is not what was written"):
        write(tmp_path, tables=[asdict(rows)]).check()
    (tmp_path / rows.file).unlink()
    parts = write(tmp_path).manifest.parts
    for changes, why in (
        ({"format": FORMAT + 1}, f"Its manifest cannot be read: format {FORMAT + 1}, not {FORMAT}."),
        ({"parts": {PARTS[0]: parts[PARTS[0]]}}, "A part is missing in its manifest."),
        ({"parts": parts | {"more.sql": ""}}, "more.sql: No such file or directory."),
        ({"parts": parts | {"../more.sql": ""}}, "'../more.sql' is not the name of a part."),
        ({"parts": parts | {PARTS[1]: "0"}}, f"{PARTS[1]} is not what was written."),
    ):
        with pytest.raises(SnapshotDamaged) as caught:
            write(tmp_path, **changes).check()
        assert caught.value.why == why
    for text in ("[]", "{}", "{", '{"format": 1, "extensions": 3}'):
        (tmp_path / MANIFEST).write_text(text)
        with pytest.raises(SnapshotDamaged, match="Its manifest cannot be read"):
            Snapshot(tmp_path).check()


MANIFEST_OF_ALL = Manifest(
    recipe="r", key="k", made_at="2026-11-23T09:30:00+00:00", made_by="ada", project="shop", steps=("alembic", "seed"),
    server="16.14", role="app", inputs={"how": "git", "files": {"a": "b"}, "names": None}, schemas=("public", "shop"),
    structures=("1", "2"), grants={"shop": "grant …"}, fixed="", triggers=True,
    defaults=((None, "revoke a"), (1, "revoke b")), extensions=(Extension("vector", "0.8", "public"),),
    enums=(EnumType(1, '"Mood"', ("sad", "ok"), None, None),),
    tables=(TableData(0, "t", ("a", "b"), 3, "000-t.copy", "4"), TableData(1, "u", (), 2, "001-u.copy", "5")),
    sequences=(SequencePosition(0, "s", 7, called=False),), views=((0, "v"), (1, "w")), revisions=("1", "2"),
    heads=("2",), parts={"before.sql": "6"}, locks=9,
)  # fmt: skip


def test_a_manifest_is_read_as_it_was_written() -> None:
    text = MANIFEST_OF_ALL.to_json()
    assert Manifest.from_json(text) == MANIFEST_OF_ALL
    assert (MANIFEST_OF_ALL.major, MANIFEST_OF_ALL.rows) == (16, 5)
    values = json.loads(text)
    for other in (FORMAT - 1, FORMAT + 1):
        with pytest.raises(ValueError, match=f"^format {other}, not {FORMAT}$"):
            Manifest.from_json(json.dumps({**values, "format": other}))
    values.pop("locks")  # an earlier version wrote none
    assert Manifest.from_json(json.dumps(values)).locks == 0


def test_a_folder_that_took_its_place_is_another_snapshot(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    snapshot = write(tmp_path / "one")
    with snapshot.open(PARTS[0]) as file:
        assert file.read() == PARTS[0].encode()
    (tmp_path / "one").rename(tmp_path / "old")
    (tmp_path / "one").mkdir()
    write(tmp_path / "one")
    with pytest.raises(SnapshotDamaged, match="Another one was put in its place meanwhile"):
        snapshot.open(PARTS[0])
