"""Generated rows that were kept: used again only while the application is the same one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dbtools.chain.kept_rows import KeptRows, load_application
from dbtools.config import Project

PROJECT = '[tool.dbtools]\nmigrate = []\nseed = { rows = "shop.rows:shop" }\n'
APPLICATION = """
from pathlib import Path
from dbtools import Dataset, TableRows
from shop.names import NAME

HERE = Path(__file__).parent

class Shop:
    profiles = ("dev", "uat")

    def generate(self, profile, seed, as_of):
        with (HERE / "calls").open("a") as file:
            file.write("x")
        rows = [(number, NAME, line) for number, line in enumerate((HERE / "stock.txt").read_text().splitlines())]
        makers = TableRows("makers", ("name",), [(NAME,)])
        return Dataset((makers, TableRows("stock", ("id", "maker", "name"), rows)), (f"Created {profile} {as_of}",))

shop = Shop()
"""
RUN = """
import sys
from dbtools.chain.kept_rows import load_application
from dbtools.chain.prefetch import generate_in_background
from dbtools.config import Project, SeedPlan

application, kept = load_application(Project.find(), rebuild="rebuild" in sys.argv)
plan = SeedPlan.resolve(application, profile=sys.argv[1], as_of=sys.argv[2])
with generate_in_background(application, plan, kept) as rows:
    print(rows.copy_data())
"""


def test_without_rows_there_is_nothing_to_keep(tmp_path: Path) -> None:
    assert load_application(Project(tmp_path)) == (None, None)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """Return the folder of a project with an application of three files."""
    (tmp_path / "shop").mkdir()
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    (tmp_path / "shop" / "rows.py").write_text(APPLICATION)
    (tmp_path / "shop" / "names.py").write_text("NAME = 'Acme'\n")
    (tmp_path / "shop" / "stock.txt").write_text("comb\nbrush\t2\n")
    (tmp_path / "tasks.py").touch()
    return tmp_path


def rows(shop: Path, profile: str = "dev", as_of: str = "2026-11-23", *more: str, first: str = "") -> str:
    """Return the rows of a plan, as another process has them."""
    environ = {"PATH": "", "PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", first + RUN, profile, as_of, *more]
    done = subprocess.run(command, cwd=shop, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def calls(shop: Path) -> int:
    """Return how many times the application has computed its rows."""
    path = shop / "shop" / "calls"
    return len(path.read_text()) if path.exists() else 0


def kept(shop: Path) -> list[Path]:
    return [*(shop / ".dbtools" / "cache" / "snapshots").glob("rows-*")]


def until_kept(shop: Path) -> str:
    """Return the rows, once they are kept: a file that has just been written might have changed since it was read."""
    for _ in range(20):
        found = rows(shop)
        if kept(shop):
            return found
    pytest.fail("the rows were never kept")


def test_rows_are_computed_once(shop: Path) -> None:
    found = until_kept(shop)
    assert r"b'0\tAcme\tcomb\n1\tAcme\tbrush\\t2\n'" in found
    computed = calls(shop)
    assert rows(shop) == found
    assert calls(shop) == computed
    assert rows(shop, "dev", "2026-11-23", "rebuild") == found
    assert calls(shop) == computed + 1
    (path,) = kept(shop)
    path.unlink()
    assert rows(shop, first="import tasks\n") == found
    assert kept(shop) == [path]


@pytest.mark.parametrize(
    ("file", "content", "expected"),
    [("names.py", "NAME = 'Bolt'\n", r"0\tBolt\tcomb"), ("stock.txt", "soap\n", r"0\tAcme\tsoap")],
)
def test_another_application_computes_them_again(shop: Path, file: str, content: str, expected: str) -> None:
    until_kept(shop)
    (shop / "shop" / file).write_text(content)
    assert expected in rows(shop)


def test_a_module_that_takes_the_place_of_another_computes_them_again(shop: Path) -> None:
    until_kept(shop)
    (shop / "shop" / "names").mkdir()
    (shop / "shop" / "names" / "__init__.py").write_text("NAME = 'Bolt'\n")
    assert r"0\tBolt\tcomb" in rows(shop)


def test_each_profile_and_day_has_its_own(shop: Path) -> None:
    until_kept(shop)
    assert "Created uat 2026-11-23" in rows(shop, "uat")
    assert "Created dev 2026-11-24" in rows(shop, "dev", "2026-11-24")
    assert "Created dev 2026-11-23" in rows(shop)


@pytest.mark.parametrize(("old", "new"), [(b"brush", b""), (b"comb", b"COMB"), (b"sha256", b"sha257"), (b"{", b"[")])
def test_damaged_rows_are_computed_again(shop: Path, old: bytes, new: bytes) -> None:
    found = until_kept(shop)
    (path,) = kept(shop)
    path.write_bytes(path.read_bytes().replace(old, new))
    computed = calls(shop)
    assert rows(shop) == found
    assert calls(shop) == computed + 1


@pytest.mark.parametrize(
    "unseen",
    [
        "__import__('subprocess').run([__import__('sys').executable, '-c', ''])",
        "__import__('sqlite3').connect(':memory:')",
    ],
)
def test_what_may_depend_on_more_than_was_seen_is_not_kept(shop: Path, unseen: str) -> None:
    until_kept(shop)
    (path,) = kept(shop)
    path.unlink()
    with (shop / "shop" / "names.py").open("a") as file:
        file.write(f"{unseen}\n")
    for number in range(3):
        rows(shop, as_of=f"2026-11-{number + 1:02}")
    assert kept(shop) == []


def test_what_was_imported_before_is_not_kept(shop: Path) -> None:
    until_kept(shop)
    (path,) = kept(shop)
    path.unlink()
    assert r"0\tAcme\tcomb" in rows(shop, first="import shop.names")
    assert kept(shop) == []


def test_the_latest_eight_are_kept(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    until_kept(shop)
    (first,) = kept(shop)
    for number in range(9):
        rows(shop, as_of=f"2026-12-{number + 1:02}")
    assert len(kept(shop)) == 8
    assert first not in kept(shop)
    project = Project.find(shop)
    assert project.cache == shop / ".dbtools" / "cache"
    with monkeypatch.context() as patched:
        patched.setattr("os.access", lambda _, mode: not mode & os.W_OK)
        assert KeptRows(project).drop() == 0
    assert KeptRows(project).drop() == 8
    assert kept(shop) == []
