"""What is read of pg_dump's words: its list, its arrays, and why it failed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dbtools.build.archive import _entries, _keep_arrays, _kind, _run
from dbtools.db.dsn import Dsn
from dbtools.errors import UNCHANGED, ChainFailed

LIST = """;
; Archive created at 2026-11-23
;
215; 1259 16390 TABLE public items app

3400; 0 0 COMMENT public TABLE items app
"""
FULL = os.strerror(28)


def test_the_list_is_read_without_its_comments(tmp_path: Path) -> None:
    program = tmp_path / "pg_restore"
    program.write_text(f"#!/bin/sh\ntest \"$2\" = --section=pre-data && exit\ncat <<'END'\n{LIST}END\n", "utf-8")
    program.chmod(0o755)
    entries = _entries(program, tmp_path / "structure.dump")
    assert [_kind(entry) for entry in entries] == ["TABLE public items app", "COMMENT public TABLE items app"]
    assert _entries(program, tmp_path / "structure.dump", "pre-data") == []


@pytest.mark.parametrize("any_or_all", ["ANY", "ALL"])
def test_an_array_of_varchar_is_not_cast_twice_and_nothing_else_is_touched(any_or_all: str) -> None:
    array = "ARRAY['a, '::character varying, 'b'::character varying]"
    assert _keep_arrays(f"CHECK (x = {any_or_all} (({array})::text[]))") == f"CHECK (x = {any_or_all} ({array}))"
    for kept in (
        f"CHECK (x = {any_or_all} ((ARRAY['a'::text])::text[]))",
        f"-- x = {any_or_all} (({array})::text[])",
        f"$$ x = {any_or_all} (({array})::text[]) $$",
        '"x = ANY ((ARRAY[::character varying])::text[])"',
    ):
        assert _keep_arrays(kept) == kept


def test_a_full_disk_is_ours_only_where_the_server_did_not_say_it() -> None:
    with pytest.raises(OSError, match=FULL) as full:
        _run(["sh", "-c", f"echo 'could not write: {FULL}' >&2; exit 1"])
    assert full.value.errno == 28
    for words in (f"ERROR: could not extend file: {FULL}", "something else."):
        with pytest.raises(ChainFailed) as caught:
            _run(["/bin/sh", "-c", f"echo '{words}' >&2; exit 1"])
        assert (caught.value.what, caught.value.why, caught.value.state) == (
            "sh could not read what the steps made.",
            f"{words.rstrip('.')}.",
            UNCHANGED,
        )


def test_the_password_is_in_the_environment_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[object] = ["sh", "-c", 'echo "$PGPASSWORD,$LC_ALL,$PGOPTIONS,$*"', "sh"]
    given, bare = Dsn.parse("postgresql://ann:s3cr3tly@db/app"), Dsn.parse("postgresql://ann@db/app")
    monkeypatch.setenv("PGOPTIONS", "-c search_path=elsewhere")
    monkeypatch.setenv("PGPASSWORD", "from outside")
    assert _run(shown, given) == "s3cr3tly,C,,--dbname postgresql://ann@db/app\n"
    assert _run(shown, bare) == "from outside,C,,--dbname postgresql://ann@db/app\n"
    assert _run(shown) == "from outside,C,,\n"
