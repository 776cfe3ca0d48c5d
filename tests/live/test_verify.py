"""verify-concurrency on projects whose own steps make the content: what it finds, and that it touches no database."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from textwrap import dedent

import psycopg
import pytest

from dbtools.build import scratch
from dbtools.build.builder import Builder
from dbtools.build.store import Store
from dbtools.chain.target import Target
from dbtools.checks import concurrency, reference
from dbtools.checks.concurrency import verify
from dbtools.checks.evidence import Evidence
from dbtools.config import LOCK_KEY, Project, SeedPlan
from dbtools.db.digest import digest
from dbtools.db.dsn import Dsn
from dbtools.errors import VerificationFailed
from tests.support.projects import heed_signals
from tests.support.waiting import until

ROOT = Path(__file__).resolve().parent.parent.parent
KEYED = "create table items (id int primary key, name text not null);"
FREE = "create table items (id int, name text not null);"
FOUR = "(1, 'one'), (2, 'two'), (3, 'three'), (4, 'four')"
# `meet` waits for another seed in the same database. Alone, a seed waits in vain: that time decides nothing but whether
# a round shows the collision, and there are more rounds.
PROGRAM = """
import os, pathlib, time
import psycopg
connection = psycopg.connect(os.environ["DATABASE_URL"], autocommit=True, application_name="own seed")
execute = connection.execute
OTHERS = "select from pg_stat_activity where application_name = 'own seed' and datname = current_database()"
def meet():
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        if execute(OTHERS).rowcount > 1:
            return True
        time.sleep(0.01)
    return False
"""
TWO_SEEDERS = ("--rounds", "1", "--seeders", "2", "--resets", "0")
HELD = "Through dbtools: 0 of 2 processes failed, 0 critical sections overlapped, 1 distinct content after 1 round."
READ = r"A reader beside them: 0 of [1-9]\d* reads failed, the longest took \d+\.\d{3} s\."
COLLIDE = "✓ Bare, the project's steps collide; through dbtools they do not."
NONE = "· No collision in {} rounds; that is no proof of safety. Through dbtools there is none."
LEFT = "select datname from pg_database where datname like 'dbtools\\_build%'"


def without_reads(lines: Sequence[str]) -> list[str]:
    """Return the verdicts without the reader's line, whose figures are others in each run. None of its reads failed."""
    *others, read, verdict = lines
    assert re.fullmatch(READ, read)
    return [*others, verdict]


class Site:
    """A project in a folder, beside a database with content of its own."""

    def __init__(self, root: Path, url: str) -> None:
        self.root, self.url = root, url
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("create table precious (id int); insert into precious values (1)")
        self.before = self.content()

    def write(self, name: str, text: str) -> None:
        (self.root / name).write_text(dedent(text).lstrip(), "utf-8")

    def make(self, schema: str, seed: str, table: str = 'seed = ["python", "seed.py"]') -> None:
        self.write("tasks.py", "from dbtools.commands import namespace\n")
        self.write("pyproject.toml", f'[tool.dbtools]\nmigrate = {{ sql = "schema.sql" }}\n{table}\n')
        self.write("schema.sql", schema)
        self.write("seed.py", PROGRAM + dedent(seed))

    def start(self, *options: str, task: str = "verify-concurrency", **variables: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "invoke", task, *options],
            cwd=self.root,
            env=os.environ | {"DATABASE_URL": self.url, **variables},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            preexec_fn=heed_signals,  # noqa: PLW1509
        )

    def invoke(
        self, *options: str, task: str = "verify-concurrency", code: int = 0, **variables: str
    ) -> tuple[list[str], str]:
        """Run the task to its end; return the lines of standard output, and standard error."""
        process = self.start(*options, task=task, **variables)
        output, errors = process.communicate()
        assert process.returncode == code, output + errors
        return output.splitlines(), errors

    def play(self, *, timeout: float = 120.0) -> tuple[Evidence, list[str]]:
        """Two seeders in one round, and in more until they collide, by the library; with what was noted."""
        project = Project.find(self.root)
        environ = dict(os.environ)
        builder = Builder(project, Store(project.cache / "snapshots", 1 << 30), environ, lambda _: None)
        plan, target = SeedPlan.resolve(None, environ=environ), Target(Dsn.parse(self.url), LOCK_KEY)
        notes: list[str] = []
        options = {"rounds": 1, "seeders": 2, "resets": 0}
        evidence = verify(project, target, plan, builder, note=notes.append, timeout=timeout, **options)
        return evidence, notes

    def content(self) -> str:
        with psycopg.connect(self.url, autocommit=True) as connection:
            return digest(connection).both

    def databases(self) -> list[str]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            return [name for (name,) in connection.execute(LEFT)]


@pytest.fixture
def site(tmp_path: Path, pg_database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("VIRTUAL_ENV", sys.prefix)
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    made = Site(tmp_path, pg_database)
    yield made
    assert made.content() == made.before
    until(lambda: made.databases() == [])


@pytest.fixture
def few_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(concurrency, "MAX_ROUNDS", 2)


def test_get_or_create_ends_in_a_duplicate_key(site: Site) -> None:
    site.make(
        KEYED,
        f"""
        for number, name in [{FOUR}]:
            if not execute("select from items where id = %s", (number,)).rowcount:
                number > 1 or meet()
                execute("insert into items values (%s, %s)", (number, name))
        """,
    )
    lines, errors = site.invoke(*TWO_SEEDERS)
    rounds = errors.count("bare, round ")
    assert without_reads(lines)[-5:] == [
        "In the steps' own words:",
        "  23505 items_pkey: python seed.py: psycopg.errors.UniqueViolation: duplicate key value violates unique"
        ' constraint "items_pkey"',
        f"Bare, at once: 1 of {2 * rounds} processes failed, 1 of them only at once;"
        f" the content differs after 0 of {rounds} rounds.",
        HELD,
        COLLIDE,
    ]
    assert f"bare, round {rounds}: 23505 items_pkey x1\n" in errors


def test_rows_that_double_are_named_though_no_process_fails(site: Site) -> None:
    site.make(
        FREE,
        f"""
        if not execute("select from items").rowcount:
            meet()
            execute("insert into items values {FOUR}")
        """,
    )
    lines, errors = site.invoke(*TWO_SEEDERS)
    rounds = errors.count("bare, round ")
    assert f"bare, round {rounds}: items: 8 rows instead of 4\n" in errors
    row = [line for line in lines if line.startswith("bare ")][-1]
    assert re.fullmatch(rf"bare +{rounds} +migrated +2 seed +0 +- +differs +- +items: 8 rows instead of 4", row)
    assert without_reads(lines)[-3:] == [
        f"Bare, at once: 0 of {2 * rounds} processes failed, 0 of them only at once;"
        f" the content differs after 1 of {rounds} rounds.",
        HELD,
        COLLIDE,
    ]


def test_sql_files_with_resets_among_them(site: Site, tmp_path: Path) -> None:
    site.make(KEYED, "", 'seed = { sql = "seed.sql" }')
    site.write(
        "seed.sql",
        f"""
        do $$ begin
            if not exists (select from items) then
                perform pg_sleep(2);
                insert into items values {FOUR};
            end if;
        end $$;
        """,
    )
    options = ("--rounds", "2", "--seeders", "1", "--resets", "2", "--json", "--evidence", str(tmp_path / "race.md"))
    lines, _ = site.invoke(*options)
    found = json.loads("\n".join(lines))
    assert (found["proved"], found["collided"], found["complaints"]) == (True, True, [])
    assert (found["setting"]["databases"], found["notes"]) == ("on the same server", [])
    results = [result for played in found["unprotected"] for result in played["results"] if result["error"]]
    words = 'sql seed.sql: psql:seed.sql:6: ERROR:  duplicate key value violates unique constraint "items_pkey"'
    assert ("23505", "items_pkey", words) in {(one["sqlstate"], one["subject"], one["error"]) for one in results}
    assert [[result["action"] for result in played["results"]] for played in found["locked"]] == [
        ["seed"] * 3,
        ["seed", "reset", "reset"],
    ]
    transcript = (tmp_path / "race.md").read_text("utf-8")
    assert f"{COLLIDE}\n=== EXIT: 0 ===" in transcript
    assert Dsn.parse(site.url).password not in transcript


def test_a_safe_seed_is_no_error_and_no_proof(site: Site) -> None:
    site.make(KEYED, f'execute("insert into items values {FOUR} on conflict do nothing")')
    lines, _ = site.invoke(*TWO_SEEDERS)
    assert without_reads(lines)[-3:] == [
        "Bare, at once: 0 of 20 processes failed, 0 of them only at once; the content differs after 0 of 10 rounds.",
        HELD,
        NONE.format(10),
    ]


@pytest.mark.usefixtures("few_rounds")
@pytest.mark.parametrize(
    ("schema", "notes", "failed"),
    [
        (FREE, ["items: 8 rows instead of 4: also one after the other: no race, the seed is not repeatable."], 0),
        (KEYED, ["23505 items_pkey: seed fails also one after the other: no race, the seed is not repeatable."], 3),
    ],
    ids=["doubles", "fails"],
)
def test_a_seed_that_cannot_be_repeated_is_no_race(site: Site, schema: str, notes: list[str], failed: int) -> None:
    site.make(schema, f'execute("insert into items values {FOUR}")')
    evidence, _ = site.play()
    assert without_reads(evidence.verdicts())[-4:] == [
        *notes,
        f"Bare, at once: {failed} of 4 processes failed, 0 of them only at once;"
        " the content differs after 0 of 2 rounds.",
        HELD,
        NONE.format(2),
    ]


@pytest.mark.usefixtures("few_rounds")
def test_values_that_differ_in_every_run_are_no_damage(site: Site) -> None:
    site.make(
        "create table users (id int primary key, hash text); create table plans (id int primary key);",
        """
        execute("insert into users values (1, gen_random_uuid()) on conflict (id) do update set hash = excluded.hash")
        execute("insert into plans values (1) on conflict do nothing")
        """,
    )
    evidence, _ = site.play()
    assert without_reads(evidence.verdicts()) == [
        "Not compared, because two undisturbed runs differ: values of users.",
        "Bare, at once: 0 of 4 processes failed, 0 of them only at once; the content differs after 0 of 2 rounds.",
        HELD,
        NONE.format(2),
    ]


def test_a_project_without_a_seed_races_its_resets(site: Site) -> None:
    site.make("select pg_sleep(2);" + KEYED, "", "seed = []")
    evidence, _ = site.play()
    assert {(played.processes, played.start) for played in evidence.unprotected} == {("2 reset", "complete")}
    assert without_reads(evidence.verdicts())[-2:] == [HELD, COLLIDE]


def test_a_step_that_goes_elsewhere_is_never_run_at_once(site: Site) -> None:
    site.make(KEYED, f'execute("insert into items values {FOUR} on conflict do nothing")')
    site.write("pyproject.toml", (site.root / "pyproject.toml").read_text("utf-8") + 'inputs = ["schema.sql"]\n')
    site.invoke(task="build")  # so that there is a snapshot, and it goes on to fit
    site.write("seed.py", "with open('runs', 'a') as file: file.write('run\\n')")
    _, errors = site.invoke(*TWO_SEEDERS, code=1)
    assert errors.splitlines() == [
        "One after the other, to know what is no race …",
        "Step python seed.py ended with exit code 0, but changed nothing in the database that it was given.",
        "It may have nothing to do, may not have committed, or reads another variable for its database."
        " Nothing was changed.",
        'Map that variable in [tool.dbtools]: env = { DB_NAME = "{dbname}", DB_HOST = "{host}" }',
    ]
    assert (site.root / "runs").read_text("utf-8") == "run\n"


def test_a_role_that_may_not_create_databases_gets_a_server_for_it(site: Site, pg_admin: str) -> None:
    site.make(
        KEYED,
        f"""
        if not execute("select from items").rowcount:
            meet()
            execute("insert into items values {FOUR}")
        """,
    )
    with psycopg.connect(pg_admin, autocommit=True) as admin:
        admin.execute("create role verify_owner login nosuperuser nocreatedb password 'verify-owner-1'")
        try:
            url = Dsn.parse(site.url).changed(user="verify_owner", password="verify-owner-1").url
            lines, _ = site.invoke(*TWO_SEEDERS, "--json", DATABASE_URL=url)
        finally:
            admin.execute("drop role verify_owner")
    found = json.loads("\n".join(lines))
    assert (found["setting"]["databases"], found["proved"]) == ("on a throwaway server", True)


def test_a_production_environment_is_refused(site: Site) -> None:
    site.make(KEYED, "")
    _, errors = site.invoke(code=5, NODE_ENV="production")
    assert errors == (
        "Refused to verify-concurrency: this is a production environment.\n"
        "NODE_ENV=production says so. Nothing was changed.\n"
        "If the project's programs may run many times here, set ALLOW_RESET=true for this one command.\n"
    )
    assert not (site.root / ".dbtools").exists()


MEETING = f"""
if not execute("select from items").rowcount:
    if meet():
        pathlib.Path(f"met-{{os.getpid()}}").touch()
        time.sleep(600)
    execute("insert into items values {FOUR}")
"""


def met(site: Site) -> list[int]:
    return [int(path.name.partition("-")[2]) for path in site.root.glob("met-*")]


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_race_leaves_nothing(site: Site, number: signal.Signals) -> None:
    site.make(FREE, MEETING)
    process = site.start(*TWO_SEEDERS)
    until(lambda: len(met(site)) == 2)
    process.send_signal(number)
    _, errors = process.communicate()
    assert process.returncode == 128 + number
    assert errors.endswith(
        f"Interrupted by {number.name}.\nIn the verify phase. Nothing was changed.\n"
        "Run this again; invoke doctor looks at the database.\n"
    )
    assert [pid for pid in met(site) if is_running(pid)] == []
    assert site.databases() == []


def test_a_killed_race_leaves_no_process_and_its_databases_are_swept(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.make(FREE, MEETING)
    process = site.start(*TWO_SEEDERS)
    until(lambda: len(met(site)) == 2)
    process.kill()
    process.communicate()
    until(lambda: not any(map(is_running, met(site))))
    assert site.databases() != []
    monkeypatch.setattr(scratch, "YOUNG_S", -600.0)  # as if it had been killed long ago

    def sweep() -> bool:
        with scratch.scratch_database(Dsn.parse(site.url), "public"):
            pass
        return site.databases() == []

    until(sweep)


def test_steps_that_hang_only_at_once_are_a_collision(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.make(FREE, MEETING)
    monkeypatch.setattr(reference, "SLACK", 0.0)
    evidence, notes = site.play(timeout=30.0)
    assert notes[-1] == "dbtools, round 1: no failure"
    assert notes[-2].endswith(": No end within 30 s x2; items: 0 rows instead of 4")
    assert evidence.proved
    assert [pid for pid in met(site) if is_running(pid)] == []


def test_a_chain_that_does_not_end_is_an_error(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.make(KEYED, f'execute("insert into items values {FOUR} on conflict do nothing")')
    monkeypatch.setattr(reference, "SLACK", 0.0)
    with pytest.raises(VerificationFailed) as caught:
        site.play(timeout=0.01)  # not even the start of a process is so quick
    assert str(caught.value) == (
        "A seed process did not end within 0 s and was killed.\n"
        "The chain hung, or the server did. Nothing was changed.\n"
        "Run it again with fewer processes: --seeders 2 --resets 1; if it hangs again, please report it."
    )
