"""The inputs of a build: what was recorded or matched, and which changes make a difference."""

from __future__ import annotations

import json
import os
import shutil
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbtools.build import digests as digests_module
from dbtools.build import listing, pepper
from dbtools.build.digests import Digests
from dbtools.build.folders import signature_of
from dbtools.build.inputs import Inputs, listing_rule
from dbtools.build.moment import Moment
from dbtools.errors import ConfigurationError
from tests.support.checkout import Checkout
from tests.support.waiting import until


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    found = Checkout(tmp_path)
    found.write("app/models.py", "class Dog")
    found.write("app/versions/1.py", "one")
    return found


@pytest.fixture
def inputs(checkout: Checkout) -> Inputs:
    """Recorded: a file, a folder, and a file that is not there."""
    return checkout.describe(recorded(checkout))


def recorded(checkout: Checkout) -> Path:
    return checkout.record(
        {"file": f"{checkout.root}/app/models.py"},
        {"file": f"{checkout.root}/app/versions/1.py"},
        {"file": f"{checkout.root}/.env"},
        {"folder": f"{checkout.root}/app/versions/"},
        {"packages": f"{checkout.root}/.venv/site-packages"},
        {"variable": "READER"},
    )


def test_recorded_inputs(inputs: Inputs) -> None:
    assert inputs.words == "3 files (recorded)"
    assert inputs.files == {
        ".env": "",
        "app/models.py": "510adb1868f0c4daa4b18c213d6b277a7979f2a4de1cf60d163734725958da24",
        "app/versions/1.py": "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed",
    }
    assert [*inputs.folders] == ["app/versions"]
    assert inputs.packages == {".venv/site-packages": ""}
    assert inputs.variables == {"READER": ""}
    assert inputs.known


def test_nothing_changed(checkout: Checkout, inputs: Inputs) -> None:
    assert checkout.difference(inputs) == ""


def test_the_first_difference_is_named(checkout: Checkout, inputs: Inputs) -> None:
    checkout.write("app/models.py", "class Cat")
    assert checkout.difference(inputs) == "app/models.py changed"
    (checkout.root / "app/models.py").unlink()
    assert checkout.difference(inputs) == "app/models.py is gone"
    checkout.write("app/models.py", "class Dog")
    assert checkout.difference(inputs) == ""
    checkout.write("app/versions/2.py")
    assert checkout.difference(inputs) == "the names of the files in app/versions changed"
    (checkout.root / "app/versions/2.py").unlink()
    checkout.write(".env", "A=1")
    assert checkout.difference(inputs) == ".env is new"


def test_what_tools_leave_makes_no_difference(checkout: Checkout, inputs: Inputs) -> None:
    for name in ("__pycache__/1.pyc", ".1.py.swp", "1.py~", ".#1.py", "#1.py#", "4913", ".DS_Store", ".git/index"):
        checkout.write(f"app/versions/{name}")
    checkout.write("app/other.py")  # neither read nor listed
    assert checkout.difference(inputs) == ""


def test_a_folder_that_vanished(checkout: Checkout, inputs: Inputs) -> None:
    (checkout.root / "app/versions/1.py").unlink()
    (checkout.root / "app/versions").rmdir()
    assert checkout.difference(inputs) == "app/versions/1.py is gone"


def test_packages(checkout: Checkout) -> None:
    site = ".venv/site-packages"
    listed = checkout.write(f"{site}/faker-1.0.dist-info/RECORD", "faker/a.py,sha256=1")
    checkout.write(f"{site}/old.pth", "/src")
    inputs = checkout.describe(recorded(checkout))
    checkout.write(f"{site}/six.py")
    checkout.write(f"{site}/__pycache__/six.pyc")
    assert checkout.difference(inputs) == ""
    listed.write_text("faker/a.py,sha256=2")  # the same version, built again
    assert checkout.difference(inputs) == f"the packages in {site} changed"
    listed.write_text("faker/a.py,sha256=1")
    listed.parent.rename(listed.parent.with_name("faker-1.1.dist-info"))
    assert checkout.difference(inputs) == f"the packages in {site} changed"


def test_a_file_elsewhere_keeps_its_absolute_path(checkout: Checkout) -> None:
    shared = checkout.folder / "shared.sql"
    shared.write_text("a")
    inputs = checkout.describe(checkout.record({"file": str(shared)}))
    assert [*inputs.files] == [str(shared)]
    shared.write_text("b")
    assert checkout.difference(inputs) == f"{shared} changed"


def test_names_of_any_bytes(checkout: Checkout) -> None:
    names = ["a\nb.sql", os.fsdecode(b"\xff.sql"), "sp ace.sql"]
    for name in names:
        checkout.write(name, "1")
    inputs = checkout.describe(checkout.record(*({"file": f"{checkout.root}/{name}"} for name in names)))
    assert set(inputs.files) == set(names)
    assert checkout.difference(inputs) == ""
    checkout.write(names[0], "2")
    assert checkout.difference(inputs) == "'a\\nb.sql' changed"
    checkout.write(names[0], "1")
    checkout.write(names[1], "2")
    assert checkout.difference(inputs) == "'\\udcff.sql' changed"


def test_links_are_followed(checkout: Checkout) -> None:
    for name in ("one.sql", "two.sql"):
        checkout.write(name, name)
    link = checkout.root / "link.sql"
    link.symlink_to("one.sql")
    (checkout.root / "round").symlink_to("round")
    record = checkout.record({"file": str(link)}, {"file": f"{checkout.root}/round"})
    inputs = checkout.describe(record)
    assert inputs.files["round"] == ""
    checkout.write("one.sql", "changed")
    assert checkout.difference(inputs) == "link.sql changed"
    checkout.write("one.sql", "one.sql")
    assert checkout.difference(inputs) == ""
    link.unlink()
    link.symlink_to("two.sql")
    assert checkout.difference(inputs) == "link.sql changed"


def test_what_is_no_file_does_not_block(checkout: Checkout) -> None:
    os.mkfifo(checkout.root / "pipe")
    record = checkout.record({"file": f"{checkout.root}/pipe"}, {"file": f"{checkout.root}/app"})
    inputs = checkout.describe(record)
    assert inputs.files == {"app": "folder", "pipe": "special"}
    assert checkout.difference(inputs) == ""


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_that_may_not_be_read(checkout: Checkout, inputs: Inputs) -> None:
    (checkout.root / "app/models.py").chmod(0)
    assert checkout.difference(inputs) == "app/models.py changed"
    inputs = checkout.describe(recorded(checkout))
    assert checkout.difference(inputs) == ""
    (checkout.root / "app/models.py").chmod(0o600)
    assert checkout.difference(inputs) == "app/models.py changed"


@pytest.mark.parametrize("lines", ['{"file": "/a"}\n{"fi', "[]\n", ""], ids=["torn", "foreign", "empty"])
def test_a_damaged_record_is_not_relied_on(checkout: Checkout, lines: str) -> None:
    path = checkout.record()
    path.write_text(lines)
    inputs = checkout.describe(path)
    assert (inputs.how, inputs.known, inputs.words) == ("none", False, "not known")
    assert checkout.difference(inputs) == "nothing is known of its inputs"


@pytest.mark.parametrize("found", [None, [], {}, {"how": "git"}, {**Inputs("git").to_json(), "files": {"a": 1}}])
def test_a_damaged_manifest(found: object) -> None:
    with pytest.raises(ValueError, match="not the inputs of a build"):
        Inputs.from_json(found)


class TestPatterns:
    def test_a_folder_means_everything_below(self, checkout: Checkout) -> None:
        checkout.patterns = ("app",)
        assert [*checkout.describe().files] == ["app/models.py", "app/versions/1.py"]
        assert checkout.describe().words == "2 files (patterns)"

    @pytest.mark.parametrize(
        ("pattern", "matched"),
        [
            ("*.sql", ["b.sql"]),
            ("**/*.sql", ["b.sql", "db/.hidden.sql", "db/a.sql", "db/x/y/c.sql"]),
            ("db/**/c.sql", ["db/x/y/c.sql"]),
            ("db/**", ["db/.hidden.sql", "db/a.sql", "db/x/y/c.sql"]),
            ("db/*", ["db/.hidden.sql", "db/a.sql", "db/x/y/c.sql"]),
            ("./db/[ab].sql", ["db/a.sql"]),
            ("d?/x", ["db/x/y/c.sql"]),
            ("*/a.sql", ["db/a.sql"]),
        ],
    )
    def test_globs(self, checkout: Checkout, pattern: str, matched: list[str]) -> None:
        for name in ("b.sql", "db/a.sql", "db/x/y/c.sql", "db/.hidden.sql", "db/a.sql~", "db/node_modules/p/d.sql"):
            checkout.write(name)
        checkout.patterns = (pattern,)
        assert [*checkout.describe().files] == matched

    def test_a_folder_beside_the_root(self, checkout: Checkout) -> None:
        (checkout.folder / "shared").mkdir()
        (checkout.folder / "shared/a.sql").touch()
        checkout.patterns = (f"{checkout.folder}/shared", "../shared/*.sql")
        names = [f"{checkout.folder}/shared/a.sql", "../shared/a.sql"]
        assert sorted(checkout.describe().files) == sorted(names)

    def test_they_beat_the_record(self, checkout: Checkout) -> None:
        checkout.patterns = ("app/versions",)
        inputs = checkout.describe(recorded(checkout))
        assert [*inputs.files] == ["app/versions/1.py"]
        assert inputs.folders == {}
        assert [*inputs.packages] == [".venv/site-packages"]  # patterns name files, not what is installed

    def test_a_new_match_is_a_difference(self, checkout: Checkout) -> None:
        checkout.patterns = ("app/*/*.py",)
        inputs = checkout.describe()
        checkout.write("app/other/2.sql")
        assert checkout.difference(inputs) == ""
        checkout.write("app/other/2.py")
        assert checkout.difference(inputs) == "app/other/2.py is new"

    def test_a_new_match_shows_once_the_matches_are_remembered(
        self, checkout: Checkout, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(digests_module, "RACY_NS", 0)
        for name in ("app/versions/2/x.py", "app/other/2.sql"):
            checkout.write(name)
        for pattern, new in {
            "app/*/*.py": "app/other/2.py",
            "app/**/x.py": "app/other/x.py",
            "app": "app/versions/2/n",
        }.items():
            checkout.patterns = (pattern, "app/models.py")
            inputs = checkout.describe()
            rule = listing_rule(checkout.patterns, checkout.environ)

            def is_remembered(inputs: Inputs = inputs, rule: str = rule) -> bool:
                return not checkout.difference(inputs) and checkout.digests.known_listing(rule) == inputs.listing

            until(is_remembered)
            checkout.write(new)
            assert checkout.difference(inputs) == f"{new} is new"

    def test_a_copy_does_not_take_the_matches_of_the_folder_that_it_was_copied_from(
        self, checkout: Checkout, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(digests_module, "RACY_NS", 0)
        checkout.patterns = ("app/versions/*.py",)
        inputs = checkout.describe()
        rule = listing_rule(checkout.patterns, checkout.environ)
        until(lambda: not checkout.difference(inputs) and checkout.digests.known_listing(rule) == inputs.listing)
        copy = replace(checkout, folder=checkout.folder / "copy")
        for name in ("project", "cache"):
            shutil.copytree(checkout.folder / name, copy.folder / name)
        copy.write("app/versions/2.py")
        assert copy.difference(inputs) == "app/versions/2.py is new"

    def test_other_patterns_are_a_difference(self, checkout: Checkout, inputs: Inputs) -> None:
        checkout.patterns = ("app",)
        assert checkout.difference(inputs) == "[tool.dbtools] inputs changed"

    def test_nothing_matches(self, checkout: Checkout) -> None:
        checkout.patterns = ("app", "db/**")
        with pytest.raises(ConfigurationError) as caught:
            checkout.describe()
        assert str(caught.value) == (
            "A pattern in [tool.dbtools] inputs matches no file: 'db/**'.\n"
            f"It was looked up in {checkout.root}. Nothing was changed.\n"
            "Correct or remove it."
        )

    def test_links_in_a_circle(self, checkout: Checkout) -> None:
        (checkout.root / "app/up").symlink_to("..")
        (checkout.root / "app/self").symlink_to("self")
        checkout.patterns = ("app/**/*.py",)
        assert [*checkout.describe().files] == ["app/models.py", "app/versions/1.py"]

    def test_too_many_files(self, checkout: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(listing, "MAX_FILES", 4)
        for number in range(5):
            checkout.write(f"data/{number}")
        checkout.patterns = ("app", "data")
        with pytest.raises(ConfigurationError) as caught:
            checkout.describe()
        assert str(caught.value) == (
            "The build has more than 4 files as inputs; 5 of them are in data/.\n"
            "Each of them would be read, to know whether a snapshot still fits. Nothing was changed.\n"
            "Let Git ignore that folder, or name what decides the content: "
            '[tool.dbtools] inputs = ["db/**", "package-lock.json"]'
        )


class TestWhatIsRemembered:
    @given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["x", "y", "touch"])), max_size=30))
    def test_a_byte_makes_a_difference_and_a_time_does_not(self, changes: list[tuple[str, str]]) -> None:
        with TemporaryDirectory() as folder:
            checkout = Checkout(Path(folder))
            for name in "abc":
                checkout.write(name, "-x-")
            inputs = checkout.describe(checkout.record(*({"file": f"{checkout.root}/{name}"} for name in "abc")))
            now = dict.fromkeys("abc", "x")
            for name, change in changes:
                path = checkout.root / name
                before = path.stat()
                if change == "touch":
                    os.utime(path, ns=(0, before.st_mtime_ns + 1))
                else:
                    path.write_text(f"-{change}-")
                    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # hides the change from mtime
                    now[name] = change
                changed = sorted(name for name, content in now.items() if content != "x")
                assert checkout.difference(inputs) == (f"{changed[0]} changed" if changed else "")

    def test_an_unchanged_file_is_not_read_again(self, checkout: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(digests_module, "RACY_NS", 0)
        assert remembered(checkout, "app/models.py")
        path = checkout.cache / "inputs.json"
        found = json.loads(path.read_bytes())
        found["files"]["app/models.py"][-1] = "from memory"
        path.write_text(json.dumps(found))
        assert checkout.digests.of_file("app/models.py") == "from memory"
        assert checkout.digests.of_file("app/versions/1.py") != "from memory"
        models = checkout.root / "app/models.py"
        before = models.stat()
        models.write_text("class Cat")
        os.utime(models, ns=(before.st_atime_ns, before.st_mtime_ns))  # the size and the mtime are as they were
        assert checkout.digests.of_file("app/models.py") != "from memory"

    def test_a_file_that_was_just_changed_is_not_remembered(self, checkout: Checkout) -> None:
        found = checkout.digests
        for number in range(200):  # of the same size, and often within one tick of the clock
            checkout.write("quick", f"{number:03}")
            first = found.of_file("quick")
            checkout.write("quick", f"{number + 500:03}")
            assert found.of_file("quick") != first

    def test_a_file_that_may_change_within_the_tick(self, checkout: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(digests_module, "RACY_NS", 3_600_000_000_000)
        found = checkout.digests
        found.of_file("app/models.py")
        found.of_folder("app")
        found.keep_listing("rule", "digest", {str(checkout.root): signature_of(str(checkout.root))}, time.time_ns())
        found.save()
        kept = json.loads((checkout.cache / "inputs.json").read_bytes())
        assert (kept["files"], kept["listings"]) == ({}, {})

    @pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 0}', '{"format": 1, "files": 3}'])
    def test_a_damaged_memory(self, checkout: Checkout, inputs: Inputs, text: str) -> None:
        checkout.cache.mkdir(exist_ok=True)
        (checkout.cache / "inputs.json").write_text(text)
        assert checkout.difference(inputs) == ""

    def test_without_a_folder(self, checkout: Checkout) -> None:
        checkout.folder.joinpath("cache").write_text("")  # it cannot be made
        inputs = checkout.describe(recorded(checkout))
        assert checkout.difference(inputs) == ""
        without = Digests(checkout.root, None)
        assert without.of_file("app/models.py") == inputs.files["app/models.py"]
        without.save()

    def test_old_entries_are_dropped(self, checkout: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(digests_module, "RACY_NS", 0)
        monkeypatch.setattr(digests_module, "MAX_REMEMBERED", 2)
        for name in ("app/models.py", "app/versions/1.py"):
            assert remembered(checkout, name)
        checkout.write("third")
        assert remembered(checkout, "third")
        assert [*json.loads((checkout.cache / "inputs.json").read_bytes())["files"]] == ["third"]


def remembered(checkout: Checkout, name: str) -> bool:
    def is_kept() -> bool:
        found = checkout.digests
        found.of_file(name)
        found.save()
        path = checkout.cache / "inputs.json"
        return path.exists() and name in json.loads(path.read_bytes())["files"]

    until(is_kept)
    return True


class TestPepper:
    def test_it_hides_what_may_be_a_password(self, checkout: Checkout, tmp_path: Path) -> None:
        checkout.write(".env", "POSTGRES_PASSWORD=hunter2")
        checkout.environ["READER"] = "hunter2"
        inputs = checkout.describe(recorded(checkout))
        other = Digests(checkout.root, tmp_path / "other")
        assert inputs.files["app/models.py"] == other.of_file("app/models.py")
        assert inputs.files[".env"] != other.of_file(".env")
        assert inputs.variables["READER"] != other.of_variable("READER", "hunter2")
        assert checkout.difference(inputs) == ""

    def test_equal_values_do_not_show(self, checkout: Checkout) -> None:
        assert checkout.digests.of_variable("A", "x") != checkout.digests.of_variable("B", "x")
        assert checkout.digests.of_variable("A", "") != ""

    @pytest.mark.parametrize(
        "name", ["a/.env.local", "tls/server.KEY", "app/secrets.yml", "credentials.json", ".pgpass"]
    )
    def test_files_that_may_hold_secrets(self, name: str) -> None:
        assert pepper.may_hold_secrets(name)
        assert not pepper.may_hold_secrets(f"{name}/models.py")

    def test_all_get_the_same_one_and_it_is_private(self, tmp_path: Path) -> None:
        with ThreadPoolExecutor(8) as pool:
            found = {*pool.map(lambda _: pepper.load(tmp_path / "cache"), range(64))}
        assert len(found) == 1
        (path,) = (tmp_path / "cache").iterdir()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    def test_a_damaged_one_is_replaced(self, tmp_path: Path) -> None:
        (tmp_path / "inputs.key").write_bytes(b"short")
        assert len(pepper.load(tmp_path)) == pepper.SIZE_BYTES
        assert pepper.load(tmp_path) == pepper.load(tmp_path)


class TestWhileABuildRuns:
    def test_nothing_changed(self, checkout: Checkout) -> None:
        before = checkout.moment()
        checkout.write("app/versions/__pycache__/1.pyc")  # an import left it
        checkout.write("seed.log")
        assert before.change_since(checkout.describe(recorded(checkout))) == ""

    def test_a_file_changed_and_came_back(self, checkout: Checkout) -> None:
        before = checkout.moment()
        status = (checkout.root / "app/models.py").stat()
        for content in ("class Cat", "class Dog"):
            checkout.write("app/models.py", content)
        os.utime(checkout.root / "app/models.py", ns=(status.st_atime_ns, status.st_mtime_ns))
        found = before.change_since(checkout.describe(recorded(checkout)))
        assert found == "app/models.py changed while the build ran"

    def test_a_file_was_read_and_deleted(self, checkout: Checkout) -> None:
        checkout.write(".env")
        before = checkout.moment()
        (checkout.root / ".env").unlink()
        assert before.change_since(checkout.describe(recorded(checkout))) == ".env was deleted while the build ran"

    def test_a_file_came(self, checkout: Checkout) -> None:
        before = checkout.moment()
        checkout.write("app/versions/2.py")
        found = before.change_since(checkout.describe(recorded(checkout)))
        assert found == "the names in app/versions changed while the build ran"
        checkout.write(".env")
        found = before.change_since(checkout.describe(recorded(checkout)))
        assert found == ".env changed while the build ran"

    def test_a_file_changed_after_it_was_described(self, checkout: Checkout) -> None:
        before = checkout.moment()
        inputs = checkout.describe(recorded(checkout))
        checkout.write(".env")
        assert before.change_since(inputs) == ".env changed while the build ran"

    def test_files_outside_of_the_root(self, checkout: Checkout) -> None:
        outside = checkout.folder / "shared"
        outside.mkdir()
        for name in ("a.sql", "b.sql"):
            (outside / name).touch()
        record = checkout.record({"file": f"{outside}/a.sql"}, {"file": f"{outside}/b.sql"})
        before = checkout.moment()
        assert before.change_since(checkout.describe(record)) == ""
        (outside / "b.sql").unlink()
        assert before.change_since(checkout.describe(record)) == f"{outside}/b.sql was deleted while the build ran"
        (outside / "a.sql").write_text("new")
        assert before.change_since(checkout.describe(record)) == f"{outside}/a.sql changed while the build ran"

    def test_a_folder_outside_of_the_root(self, checkout: Checkout) -> None:
        outside = checkout.folder / "shared"
        outside.mkdir()
        record = checkout.record({"folder": str(outside)})
        before = checkout.moment()
        (outside / "__pycache__").mkdir()
        assert before.change_since(checkout.describe(record)) == ""
        (outside / "a.sql").touch()
        assert before.change_since(checkout.describe(record)) == f"the names in {outside} changed while the build ran"

    def test_packages(self, checkout: Checkout) -> None:
        checkout.write(".venv/site-packages/faker-1.0.dist-info/RECORD")
        before = checkout.moment()
        record = recorded(checkout)
        assert before.change_since(checkout.describe(record)) == ""
        checkout.write(".venv/site-packages/faker-1.1.dist-info/RECORD")
        found = before.change_since(checkout.describe(record))
        assert found == "the packages in .venv/site-packages changed while the build ran"

    def test_a_match_of_a_pattern_was_deleted(self, checkout: Checkout) -> None:
        checkout.patterns = ("app",)
        before = checkout.moment()
        (checkout.root / "app/models.py").unlink()
        found = before.change_since(checkout.describe())
        assert found == "app/models.py was deleted while the build ran"

    def test_a_huge_folder_is_left_at_some_point(self, checkout: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("dbtools.build.moment.MAX_FILES", 0)
        (checkout.root / "z").touch()
        before = Moment.take(str(checkout.root), None)
        assert [*before.files] == ["z"]
