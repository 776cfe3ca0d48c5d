"""Inputs that Git lists: what it knows or does not ignore, in real repositories."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dbtools.build import digests as digests_module
from dbtools.build import listing
from dbtools.build.inputs import Inputs
from dbtools.errors import ConfigurationError
from tests.support.checkout import Checkout
from tests.support.waiting import until


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    found = Checkout(tmp_path)
    found.write("app.ts", "1")
    found.write("db/1.sql", "1")
    found.write(".gitignore", "*.log\nnode_modules/\ndist\n")
    found.git("init", "-q")
    found.git("add", "-A")
    return found


OWN = [".gitignore", "app.ts", "db/1.sql"]


def test_what_git_knows_or_does_not_ignore(checkout: Checkout) -> None:
    for name in ("new.sql", "a.log", "dist/x.js", "node_modules/p/x.js", "db/__pycache__/x.pyc", "db/1.sql.swp"):
        checkout.write(name)
    inputs = checkout.describe()
    assert [*inputs.files] == [*OWN, "new.sql"]
    assert inputs.words == "4 files (git)"
    assert checkout.difference(inputs) == ""


def test_differences(checkout: Checkout) -> None:
    inputs = checkout.describe()
    checkout.write("db/1.sql", "2")
    assert checkout.difference(inputs) == "db/1.sql changed"
    (checkout.root / "db/1.sql").unlink()
    assert checkout.difference(inputs) == "db/1.sql is gone"
    checkout.write("db/1.sql", "1")
    checkout.write("dist/x.js")
    assert checkout.difference(inputs) == ""
    checkout.write("db/2.sql")
    assert checkout.difference(inputs) == "db/2.sql is new"
    (checkout.root / "db/2.sql").unlink()
    checkout.git("add", "-f", "dist/x.js")
    assert checkout.difference(inputs) == "dist/x.js is new"


def test_committing_is_no_difference(checkout: Checkout) -> None:
    checkout.write("new.sql")
    inputs = checkout.describe()
    checkout.git("add", "-A")
    checkout.git("commit", "-qm", "x")
    assert checkout.difference(inputs) == ""


def test_a_tracked_file_that_was_deleted(checkout: Checkout) -> None:
    (checkout.root / "db/1.sql").unlink()
    inputs = checkout.describe()
    assert inputs.files["db/1.sql"] == ""
    assert checkout.difference(inputs) == ""
    checkout.write("db/1.sql", "1")
    assert checkout.difference(inputs) == "db/1.sql is new"


def test_what_was_recorded_besides(checkout: Checkout) -> None:
    checkout.write("seed.log", "1")
    record = checkout.record({"file": f"{checkout.root}/seed.log"}, {"program": "node"})
    inputs = checkout.describe(record)
    assert [*inputs.files] == [*OWN, "seed.log"]
    assert inputs.how == "git"
    assert checkout.describe(checkout.record({"file": f"{checkout.root}/seed.log"})).how == "recorded"
    assert checkout.describe(checkout.record({"file": f"{checkout.root}/seed.log"}), opaque=True) == inputs
    checkout.write("seed.log", "2")
    assert checkout.difference(inputs) == "seed.log changed"


def test_a_root_below_the_top(checkout: Checkout, tmp_path: Path) -> None:
    checkout.git("commit", "-qm", "x")
    inner = Checkout(tmp_path / "project")
    inner.write("a.sql")
    inner.write("b.log")
    inputs = inner.describe()
    assert [*inputs.files] == ["a.sql"]
    (tmp_path / "project/.gitignore").write_text("")
    assert inner.difference(inputs) == "b.log is new"


def test_a_root_that_its_repository_ignores(checkout: Checkout) -> None:
    inner = Checkout(checkout.root / "dist")
    inner.write("a.sql")
    assert inner.describe().how == "none"
    checkout.git("add", "-f", "dist/project/a.sql")
    assert inner.describe().how == "none"


def test_no_repository(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path)
    checkout.write("a.sql")
    inputs = checkout.describe()
    assert (inputs.how, inputs.known) == ("none", False)


def test_no_git(checkout: Checkout) -> None:
    inputs = checkout.describe()
    checkout.environ["PATH"] = "/nonexistent"
    assert checkout.difference(inputs) == "Git cannot list the project's files"
    assert checkout.describe().how == "none"


def test_a_hook_of_another_repository(checkout: Checkout) -> None:
    checkout.environ |= {"GIT_DIR": "/nonexistent", "GIT_INDEX_FILE": "/nonexistent/index"}
    assert [*checkout.describe().files] == OWN


def test_submodules_and_repositories_within(checkout: Checkout, tmp_path: Path) -> None:
    other = Checkout(tmp_path / "other")
    other.write("lib.sql")
    other.git("init", "-q")
    other.git("add", "-A")
    other.git("commit", "-qm", "x")
    checkout.git("submodule", "add", "-q", str(other.root), "sub")
    checkout.write("nested/n.sql")
    checkout.git("init", "-q", cwd=checkout.root / "nested")
    inputs = checkout.describe()
    assert [*inputs.files] == sorted([*OWN, ".gitmodules", "nested/n.sql", "sub/lib.sql"])
    checkout.write("sub/new.sql")
    assert checkout.difference(inputs) == "sub/new.sql is new"
    checkout.git("submodule", "deinit", "-f", "sub")
    assert [*checkout.describe().files] == sorted([*OWN, ".gitmodules", "nested/n.sql"])


def test_installed_packages_that_are_not_ignored(checkout: Checkout) -> None:
    checkout.write(".gitignore")
    checkout.write("env/pyvenv.cfg")
    for name in ("env/lib/x.py", "node_modules/p/x.js", "web/node_modules/p/x.js", "web/x.js"):
        checkout.write(name)
    assert [*checkout.describe().files] == [*OWN, "web/x.js"]
    checkout.git("add", "-f", "web/node_modules")
    assert [*checkout.describe().files] == [*OWN, "web/node_modules/p/x.js", "web/x.js"]


def test_links(checkout: Checkout, tmp_path: Path) -> None:
    behind = tmp_path / "behind"
    (behind / "deep").mkdir(parents=True)
    (behind / "deep/x.sql").touch()
    for name, goal in {"data": str(behind), "up": "..", "here": ".", "nothing": "gone", "file": "app.ts"}.items():
        (checkout.root / name).symlink_to(goal)
    checkout.git("add", "data", "up")
    inputs = checkout.describe()
    assert [*inputs.files] == [".gitignore", "app.ts", "data/deep/x.sql", "db/1.sql", "file", "nothing"]
    (behind / "deep/y.sql").touch()
    assert checkout.difference(inputs) == "data/deep/y.sql is new"


def test_names_of_any_bytes(checkout: Checkout) -> None:
    names = {"a\nb.sql", 'quo"te.sql', os.fsdecode(b"\xff/\xfe.sql")}
    for name in names:
        checkout.write(name)
    assert names < checkout.describe().files.keys()


def test_too_many_files(checkout: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "MAX_FILES", 5)
    for number in range(5):
        checkout.write(f"uploads/{number}")
    with pytest.raises(ConfigurationError, match=r"5 of them are in uploads/"):
        checkout.describe()
    checkout.write(".gitignore", "uploads/")
    assert [*checkout.describe().files] == OWN


def test_a_file_that_git_does_not_ignore_was_deleted_while_the_build_ran(checkout: Checkout) -> None:
    checkout.write("new.sql")
    checkout.write("a.log")
    before = checkout.moment()
    (checkout.root / "a.log").unlink()
    assert before.change_since(checkout.describe()) == ""
    (checkout.root / "new.sql").unlink()
    assert before.change_since(checkout.describe()) == "new.sql was deleted while the build ran"


class TestWithoutAskingGit:
    """While nothing changed that Git's answer depends on, Git is not started: here it could not be found."""

    @pytest.fixture
    def inputs(self, checkout: Checkout, monkeypatch: pytest.MonkeyPatch) -> Inputs:
        monkeypatch.setattr(digests_module, "RACY_NS", 0)
        for name in ("empty/only.log", "deep/er/x.sql", "dist/x/y.js"):
            checkout.write(name)
        (checkout.root / "bare").mkdir()
        return settled(checkout)

    def test_nothing_changed(self, checkout: Checkout, inputs: Inputs) -> None:
        checkout.write("dist/x/new.js")  # ignored with its folder: no place where a file could count
        assert not asks(checkout, inputs)
        checkout.write("a.log")  # ignored, in a place where others would count
        assert asks(checkout, inputs)
        assert checkout.difference(inputs) == ""

    @pytest.mark.parametrize("name", ["new.sql", "empty/new.sql", "bare/new.sql", "deep/er/new.sql", "deep/new/x.sql"])
    def test_a_new_file_anywhere(self, checkout: Checkout, inputs: Inputs, name: str) -> None:
        checkout.write(name)
        assert checkout.difference(inputs) == f"{name} is new"

    @pytest.mark.parametrize(
        "place", ["deep/.gitignore", ".git/info/exclude", ".config/git/ignore", "named", "included"]
    )
    def test_another_rule(self, checkout: Checkout, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
        monkeypatch.setattr(digests_module, "RACY_NS", 0)
        checkout.environ["HOME"] = str(checkout.folder)
        checkout.git("config", "core.excludesFile", "~/excluded")
        checkout.git("config", "include.path", str(checkout.folder / "included"))
        path = {
            ".config/git/ignore": checkout.folder / ".config/git/ignore",
            "named": checkout.folder / "excluded",
            "included": checkout.folder / "included",
        }.get(place, checkout.root / place)
        if place == ".config/git/ignore":
            checkout.git("config", "--unset", "core.excludesFile")
        path.parent.mkdir(parents=True, exist_ok=True)
        (checkout.folder / "other").write_text("z.sql")
        includes = place == "included"
        path.write_text(f"[core]\nexcludesFile = {checkout.folder}/other\n" if includes else ".gitignore\nz.sql\n")
        checkout.write(".gitignore")
        checkout.write("deep/z.sql")
        inputs = settled(checkout)
        assert "deep/z.sql" not in inputs.files
        path.write_text("[core]\n" if includes else ".gitignore\n")
        assert checkout.difference(inputs) == "deep/z.sql is new"

    @pytest.mark.parametrize("place", [".gitignore", "apps/.gitignore"])
    def test_a_rule_above_the_root(self, checkout: Checkout, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
        monkeypatch.setattr(digests_module, "RACY_NS", 0)
        checkout.write(place, "*.csv\n")
        inner = Checkout(checkout.root / "apps")
        for name in ("a.sql", "b.csv"):
            inner.write(name)
        inputs = settled(inner)
        checkout.write(place)
        assert inner.difference(inputs) == "b.csv is new"

    def test_a_new_file_behind_a_link(self, checkout: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(digests_module, "RACY_NS", 0)
        behind = checkout.folder / "behind"
        behind.mkdir()
        (behind / "x.sql").touch()
        (checkout.root / "data").symlink_to(behind)
        inputs = settled(checkout)
        (behind / "y.sql").touch()
        assert checkout.difference(inputs) == "data/y.sql is new"

    def test_another_home(self, checkout: Checkout, inputs: Inputs) -> None:
        checkout.environ["HOME"] = str(checkout.folder)
        assert asks(checkout, inputs)


def settled(checkout: Checkout) -> Inputs:
    """Return the inputs, once Git's answer is remembered."""
    inputs = checkout.describe()
    until(lambda: checkout.difference(inputs) == "" and not asks(checkout, inputs))
    return inputs


def asks(checkout: Checkout, inputs: Inputs) -> bool:
    path = checkout.environ["PATH"]
    checkout.environ["PATH"] = "/nonexistent"
    try:
        return checkout.difference(inputs) == "Git cannot list the project's files"
    finally:
        checkout.environ["PATH"] = path
