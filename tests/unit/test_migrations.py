"""Migrations rendered as SQL and cached. That they run is tested on a live server."""

from pathlib import Path

import pytest

from dbtools.chain.migrations import Revision, load_rendered
from tests.support.toy import TABLES, execute, write_history


def test_revisions_are_told_apart_and_the_transaction_is_left_to_the_caller(tmp_path: Path) -> None:
    history = write_history(tmp_path / "m", execute(TABLES), execute("create index on items (price)"))
    found = load_rendered(history, tmp_path / "cache")
    assert found is not None
    assert [one.name for one in found.revisions] == ["0001", "0002"]
    assert found.committing == ""
    assert "CREATE TABLE alembic_version" in found.revisions[0].sql
    assert "create table shops" in found.revisions[0].sql
    assert "create index on items" in found.revisions[1].sql
    assert not any(line in {"BEGIN;", "COMMIT;"} for one in found.revisions for line in one.sql.splitlines())


def test_percent_signs_stay_as_they_are(tmp_path: Path) -> None:
    """Doubled, as for a driver's parameters, a check or a function would mean something else."""
    sql = "alter table shops add check (name like 'a%' or name like '50%% %s')"
    found = load_rendered(write_history(tmp_path / "m", execute(TABLES), execute(sql)), tmp_path / "cache")
    assert found is not None
    assert sql in found.revisions[1].sql


def test_a_revision_that_commits_by_itself_is_found_out(tmp_path: Path) -> None:
    body = "with op.get_context().autocommit_block():\n    op.execute('create index concurrently on items (price)')"
    found = load_rendered(write_history(tmp_path / "m", execute(TABLES), body), tmp_path / "cache")
    assert found is not None
    assert found.committing == "0002"


@pytest.mark.parametrize(
    ("sql", "commits"),
    [
        ("create table a ();\ncommit;", True),
        ("COMMIT;\n\ncreate index concurrently on a (b);\n\nBEGIN;", True),
        ("end; select 1", True),
        ("select 1; ROLLBACK", True),
        ("savepoint a; rollback to a; release a", False),
        ("create function f() returns int language plpgsql as $$ begin return 1; end; $$", False),
        ("do $x$ begin perform 1; commit; end $x$", False),
        ("insert into notes values ('; commit;')", False),
        ('create table "a; commit;" ()', False),
        ("create function g() returns int begin atomic select 1; end", False),
        ("select case when true then 2\nend", False),
        ("-- ; commit\nselect 1 /* ; commit */", False),
    ],
)
def test_a_statement_that_ends_the_transaction_is_told_from_one_that_looks_so(sql: str, commits: bool) -> None:
    assert Revision("0001", sql).commits is commits


def test_a_revision_that_asks_the_database_cannot_be_rendered(tmp_path: Path) -> None:
    body = "op.get_bind().execute(__import__('sqlalchemy').text('select 1')).scalar_one()"
    assert load_rendered(write_history(tmp_path / "m", body), tmp_path / "cache") is None


def test_the_cache_is_used_until_a_file_changes(tmp_path: Path) -> None:
    history, cache = write_history(tmp_path / "m", execute(TABLES)), tmp_path / "cache"
    load_rendered(history, cache)
    (stored,) = cache.iterdir()
    stored.write_text(stored.read_text().replace("shops", "kiosks"))
    found = load_rendered(history, cache)
    assert found is not None
    assert "kiosks" in found.revisions[0].sql
    (history / "versions" / "0001.py").write_text((history / "versions" / "0001.py").read_text() + "# touched\n")
    found = load_rendered(history, cache)
    assert found is not None
    assert "kiosks" not in found.revisions[0].sql
    assert [path.name for path in cache.iterdir()] != [stored.name]
    assert len(list(cache.iterdir())) == 1


def test_no_migrations_are_no_revisions(tmp_path: Path) -> None:
    found = load_rendered(write_history(tmp_path / "m"), tmp_path / "cache")
    assert found is not None
    assert found.revisions == ()


def test_without_a_cache_that_can_be_written_to_they_are_rendered_each_time(tmp_path: Path) -> None:
    history, notes = write_history(tmp_path / "m", execute(TABLES)), list[str]()
    (tmp_path / "file").touch()
    for count in (1, 2):
        found = load_rendered(history, tmp_path / "file" / "cache", notes.append)
        assert found is not None
        assert len(found.revisions) == 1
        assert len(notes) == count
    assert notes[0].startswith(f"The cache {tmp_path / 'file' / 'cache'} cannot be written to (Not a directory): ")
