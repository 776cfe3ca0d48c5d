"""One set of programs: that they run here, and the name under which what they prepare is kept."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dbtools.errors import ServerError
from dbtools.server.binaries import Binaries


def tree(folder: Path, script: str, wheel: str = "") -> Binaries:
    program = folder / "bin" / "postgres"
    program.parent.mkdir(parents=True)
    program.write_text(script, "utf-8")
    program.chmod(0o755)
    return Binaries(16, program.parent, folder / "share", wheel, folder if wheel else None)


def test_programs_of_another_version_than_expected(tmp_path: Path) -> None:
    script = "#!/bin/sh\necho 'postgres (PostgreSQL) 17.2 (Debian 17.2-1)'\n"
    with pytest.raises(ServerError) as caught:
        tree(tmp_path / "wheel", script, "wheel-1").check_version()
    assert str(caught.value) == (
        "The wheel wheel-1 has PostgreSQL 17.2 where 16 was expected.\n"
        "A later wheel may drop an old version.\n"
        "Install the version that requirements.lock names."
    )
    with pytest.raises(ServerError) as caught:
        tree(tmp_path / "system", script).check_version()
    assert str(caught.value) == (
        f"{tmp_path}/system/bin has PostgreSQL 17.2 where 16 was expected.\n"
        "The programs were replaced meanwhile.\n"
        "Run this again."
    )


@pytest.mark.parametrize("script", ["#!/no/such/loader\n", "#!/bin/sh\nexit 127\n"], ids=["loader", "exit"])
def test_programs_that_do_not_run_here(tmp_path: Path, script: str) -> None:
    with pytest.raises(ServerError) as caught:
        tree(tmp_path, script, "wheel-1").check_version()
    assert caught.value.what == "The PostgreSQL 16 programs in the wheel wheel-1 do not run on this machine."
    assert caught.value.why.endswith(" The wheel is built for glibc Linux, macOS and Windows.")


def test_the_distributions_programs_change_their_key_when_they_are_updated(tmp_path: Path) -> None:
    binaries = tree(tmp_path, "#!/bin/sh\n")
    key = binaries.key
    assert binaries.key == key
    os.utime(binaries.bin / "postgres", (1, 1))
    assert binaries.key != key
