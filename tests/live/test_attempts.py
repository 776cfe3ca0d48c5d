"""A build is tried again where only extensions were in its way, and never for another reason."""

from __future__ import annotations

from collections.abc import Collection

import psycopg
import pytest

from dbtools.build.attempts import build_again, run_and_keep
from dbtools.build.scratch import KEPT_PREFIX, Scratch
from dbtools.config import Project
from dbtools.db.dsn import Dsn
from dbtools.errors import UNCHANGED, StepFailed
from tests.support.sessions import Connect


class Attempts:
    """Attempts that fail with these words, one after the other; the one after them succeeds."""

    def __init__(self, *words: str) -> None:
        self.words = words
        self.made: list[tuple[bool, list[str]]] = []

    def __call__(self, *, extensions: bool = False, without: Collection[str] = ()) -> int:
        self.made.append((extensions, sorted(without)))
        if len(self.made) > len(self.words):
            return len(self.made)
        raise StepFailed(self.words[len(self.made) - 1], "", "", UNCHANGED)


@pytest.fixture
def extension(connect: Connect, pg_admin: str) -> str:
    """The name of an extension that is in the test's database."""
    session = connect(url=pg_admin)
    found = session.execute("select name from pg_available_extensions where installed_version is null limit 1")
    names = [str(name) for (name,) in found]
    if not names:
        pytest.skip("the server has no extension")
    session.execute(f'create extension "{names[0]}"'.encode())
    return names[0]


def test_what_only_extensions_explain_is_tried_again(pg_database: str, extension: str) -> None:
    def run(*words: str) -> tuple[list[tuple[bool, list[str]]], list[str], str]:
        attempts, notes, end = Attempts(*(word.format(extension) for word in words)), list[str](), ""
        try:
            assert build_again(attempts, Dsn.parse(pg_database), notes.append) == len(attempts.made)
        except StepFailed as error:
            end = error.what
        return attempts.made, notes, end

    there, missing = 'extension "{}" already exists', 'type "{}" does not exist'
    first, with_it, without_it = (False, list[str]()), (True, list[str]()), (False, [extension])
    left_out = f"Once more, without the extension that the steps make themselves: {extension}"
    given = f"Once more, with the extensions that are there: {extension}"
    assert run() == ([first], [], "")
    assert run(there) == ([first, without_it], [left_out], "")
    assert run(there, there) == ([first, without_it], [left_out], there.format(extension))
    assert run(there, "another") == ([first, without_it], [left_out], "another")
    assert run('extension "other" already exists') == ([first], [], 'extension "other" already exists')
    assert run(missing) == ([first, with_it], [given], "")
    assert run("function f(text) does not exist") == ([first, with_it], [given], "")
    assert run("please install {}") == ([first, with_it], [given], "")
    assert run(missing, "another") == ([first, with_it], [given], missing.format(extension))
    assert run("another") == ([first], [], "another")


def test_without_an_extension_there_is_nothing_to_try(pg_database: str) -> None:
    attempts = Attempts('type "x" does not exist')
    with pytest.raises(StepFailed):
        build_again(attempts, Dsn.parse(pg_database), lambda _: None)
    assert len(attempts.made) == 1


def test_each_attempt_leaves_its_database_for_a_look(
    pg_admin: str, extension: str, connect: Connect, tmp_path_factory: pytest.TempPathFactory
) -> None:
    ran: list[str] = []

    def run(scratch: Scratch) -> None:
        ran.append(scratch.dsn.dbname)
        try:
            scratch.session.execute(f"""comment on extension "{extension}" is 'there'""".encode())
        except psycopg.Error as error:
            raise StepFailed(str(error), "", "", UNCHANGED) from error

    session = connect(url=pg_admin)
    try:
        run_and_keep(run, Project(tmp_path_factory.mktemp("project")), Dsn.parse(pg_admin), lambda _: None)
        kept = session.execute("select datname from pg_database where datname = any (%s)", (ran,)).fetchall()
        assert len(ran) == len(kept) == 2
        assert all(name.startswith(KEPT_PREFIX) for name in ran)
    finally:
        for name in ran:
            session.execute(f'drop database if exists "{name}"'.encode())
