"""What the doctor says of a reset is what the reset then does, in each of these states."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from textwrap import dedent

import psycopg
import pytest

from dbtools import chain
from dbtools.application import Application, Invariant
from dbtools.build import programs
from dbtools.build.builder import Builder
from dbtools.build.store import Store
from dbtools.chain.prefetch import generate_in_background
from dbtools.chain.target import GuardRules, Target
from dbtools.checks.doctor import examine
from dbtools.checks.findings import Finding, Verdict, judge
from dbtools.config import LOCK_KEY, Project
from dbtools.db.digest import digest
from dbtools.db.dsn import Dsn
from dbtools.errors import DbtoolsError
from dbtools.server import sources
from tests.support.pgbouncer import PROGRAM, pooler
from tests.support.runs import PLAN, Log
from tests.support.toy import TABLES, ToyShop

INI = "[alembic]\nscript_location = %(here)s/history\n"
ENV = """
    from alembic import context
    from sqlalchemy import create_engine
    with create_engine("postgresql+psycopg://nobody:secret@db.example.com/trap").connect() as connection:
        context.configure(connection=connection)
        with context.begin_transaction():
            context.run_migrations()
    """
REVISION = """
    from alembic import op
    revision = {name!r}
    down_revision = {down!r}
    def upgrade():
        op.execute({sql!r})
    """
SEED = "insert into items (name) values ('one'), ('two')"
SQL = 'migrate = { sql = "schema.sql" }\nseed = { sql = "seed.sql" }'
ALEMBIC = 'seed = { sql = "seed.sql" }\ninputs = ["history/**", "*.sql"]'


@dataclass
class Site:
    """A project in a folder, the database that it is reset into, and its server's superuser."""

    root: Path
    target: Target
    admin: psycopg.Connection
    patch: pytest.MonkeyPatch
    application: Application | None = None
    environ: dict[str, str] = field(default_factory=lambda: dict(os.environ))
    built: list[str] = field(default_factory=list)
    """What builds noted."""

    def write(self, name: str, text: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text).lstrip(), "utf-8")
        return path

    def configure(self, table: str) -> None:
        self.write("pyproject.toml", f"[tool.dbtools]\n{table}\n")

    def revise(self, name: str, down: str | None, sql: str) -> None:
        self.write(f"history/versions/{name}.py", REVISION.format(name=name, down=down, sql=sql))

    def use_alembic(self) -> None:
        self.configure(ALEMBIC)
        self.write("alembic.ini", INI)
        self.write("history/env.py", ENV)
        self.revise("0001", None, "create table items (id serial, name text)")

    def builder(self) -> Builder:
        project = Project.find(self.root)
        store = Store(project.cache / "snapshots", 1 << 30)
        return Builder(project, store, self.environ, self.built.append)

    def build(self) -> None:
        with psycopg.connect(self.target.dsn.url, autocommit=True) as session:
            maker = self.builder()
            assert maker.find(session) is None
        maker.build(self.target.dsn)

    def doctor(self, *, build: bool = False) -> list[Finding]:
        return [*examine(self.target, self.builder(), self.application, self.environ, build=build)]

    def reset(self) -> None:
        plan = replace(PLAN, environ=self.environ)
        with generate_in_background(self.application, plan) as rows:
            chain.reset(self.target, self.builder(), rows, Log())

    def sql(self, text: str) -> None:
        """Do something to the database as the superuser, with the names of the role and of the database."""
        dsn = self.target.dsn
        self.admin.execute(text.format(database=dsn.dbname, role=dsn.user, admin=self.admin.info.user))


@pytest.fixture
def site(pg_database: str, pg_admin: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    with psycopg.connect(pg_admin, autocommit=True) as admin:
        made = Site(tmp_path / "site", Target(Dsn.parse(pg_database), LOCK_KEY), admin, monkeypatch)
        made.environ |= {"PYTHONDONTWRITEBYTECODE": "1", "VIRTUAL_ENV": sys.prefix}
        made.write("schema.sql", "create table items (id serial, name text);")
        made.write("seed.sql", SEED)
        made.configure(SQL)
        yield made
        made.sql("alter role {role} nosuperuser createdb")
        left = admin.execute("select datname from pg_database where datname like 'dbtools\\_build%'").fetchall()
        assert left == []  # whatever happened
        programs.find_program.cache_clear()


State = Callable[[Site], None]
GREEN: dict[str, State] = {}
RED: dict[str, tuple[State, str, str]] = {}
"""The state, the name of the finding that stops the reset, and words of its and of the reset's error."""
ONLY_BUILD: dict[str, tuple[State, str, str]] = {}
"""Those that show when the steps run."""


def green(state: State) -> State:
    GREEN[state.__name__.strip("_")] = state
    return state


def red(finding: str, words: str, *, build: bool = False) -> Callable[[State], State]:
    def add(state: State) -> State:
        (ONLY_BUILD if build else RED)[state.__name__.strip("_")] = (state, finding, words)
        return state

    return add


@green
def a_snapshot_that_fits(site: Site) -> None:
    site.build()


@green
def a_second_reset(site: Site) -> None:
    site.reset()


@green
def a_program_that_is_gone_where_the_snapshot_fits(site: Site) -> None:
    program = site.write("bin/seed", "#!/bin/sh\nexec psql -qc 'insert into items values (1)'\n")
    program.chmod(0o700)
    site.environ["PATH"] = f"{programs.find_program('psql', 16).parent}:{os.environ['PATH']}"
    site.configure('migrate = { sql = "schema.sql" }\nseed = ["bin/seed"]\ninputs = ["*.sql"]\nvariables = []')
    site.build()
    program.unlink()


@green
def two_heads(site: Site) -> None:
    site.use_alembic()
    site.revise("0002", "0001", "create table left_ones (a int)")
    site.revise("0003", "0001", "create table right_ones (a int)")
    site.build()


@green
def tables_of_this_history_without_a_mark(site: Site) -> None:
    site.use_alembic()
    site.build()
    site.reset()
    site.sql("drop schema dbtools cascade")


@green
def a_held_lock_is_no_failure(site: Site) -> None:
    site.build()
    holder = psycopg.connect(site.target.dsn.url)
    holder.execute(f"select pg_advisory_xact_lock({LOCK_KEY})")
    found = {finding.name: finding for finding in site.doctor()}
    assert found["seed lock"].passed is None
    assert found["seed lock"].detail.startswith("held by ")
    assert judge([*found.values()]).works is True
    holder.close()


@green
def a_publication_in_place(site: Site) -> None:
    site.target = replace(site.target, in_place=True)
    site.reset()
    site.sql("create publication p for table public.items")


@green
def forced_row_security(site: Site) -> None:
    site.write("schema.sql", "create table items (id serial, name text); alter table items force row level security")
    site.build()
    site.reset()


@green
def behind_the_heads(site: Site) -> None:
    site.use_alembic()
    site.reset()
    site.revise("0002", "0001", "create table more (a int)")
    site.build()
    assert any(str(found).startswith("· migrations: at 0001, behind 0002\n") for found in site.doctor())


@red("seed 1 of 1 (no-such-program now)", "no-such-program was not found on PATH.")
def a_missing_program(site: Site) -> None:
    site.configure('migrate = { sql = "schema.sql" }\nseed = ["no-such-program", "now"]')


@red("seed 1 of 1 (pg_restore demo.dump)", "pg_restore was not found on PATH.")
def a_missing_client(site: Site) -> None:
    site.configure('migrate = { sql = "schema.sql" }\nseed = ["pg_restore", "demo.dump"]')
    site.environ["PATH"] = "/nowhere"


@red("seed 1 of 1 (./seed.sh)", "./seed.sh does not exist.")
def a_missing_script(site: Site) -> None:
    site.configure('migrate = { sql = "schema.sql" }\nseed = ["./seed.sh"]')


@red("seed 1 of 1 (./seed.sh)", "./seed.sh: Permission denied.")
def a_script_that_is_not_executable(site: Site) -> None:
    site.configure('migrate = { sql = "schema.sql" }\nseed = ["./seed.sh"]')
    site.write("seed.sh", "#!/bin/sh\n").chmod(0o600)


@red("seed 1 of 1 (python seed.py)", "/backend does not exist.")
def a_missing_folder(site: Site) -> None:
    site.configure('migrate = { sql = "schema.sql" }\nseed = { command = ["python", "seed.py"], cwd = "backend" }')


@red("migrate 1 of 1 (sql db/*.sql)", "No file matches 'db/*.sql' in")
def a_missing_sql_file(site: Site) -> None:
    site.configure('migrate = { sql = "db/*.sql" }')


@red("seed 1 of 1 (sql seed/*.sql)", "No file matches 'seed/*.sql' in")
def a_missing_sql_file_of_the_seed(site: Site) -> None:
    site.configure('migrate = { sql = "schema.sql" }\nseed = { sql = "seed/*.sql" }')


@red("inputs", "A pattern in [tool.dbtools] inputs matches no file: 'src/**'.")
def a_pattern_of_inputs_without_files(site: Site) -> None:
    site.configure(f'{SQL}\ninputs = ["src/**"]')


@red("seed 1 of 1 (sql seed.sql)", "seed.sql:1 connects to another database: \\connect prod")
def a_file_that_connects_elsewhere(site: Site) -> None:
    site.write("seed.sql", "\\connect prod\n")


@red("seed 1 of 1 (call app.seed:run)", "No module named 'app'")
def a_missing_module(site: Site) -> None:
    site.configure('migrate = { sql = "schema.sql" }\nseed = { call = "app.seed:run" }')


@red("seed 1 of 1 (call app.sead:run)", "No module named 'app.sead'")
def a_module_of_another_name(site: Site) -> None:
    site.configure('migrate = { sql = "schema.sql" }\nseed = { call = "app.sead:run" }')
    site.write("app/__init__.py", "")
    site.write("app/seed.py", "def run(connection): connection.execute('insert into items values (3)')")


@red("migrate 1 of 1 (alembic)", "No module named 'alembic'")
def an_interpreter_without_alembic(site: Site) -> None:
    site.use_alembic()
    site.configure('python = "bare/bin/python"\n' + ALEMBIC)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", site.root / "bare"], check=True)


@red("python", "cannot be '")
def an_interpreter_that_does_not_exist(site: Site) -> None:
    site.use_alembic()
    site.configure('python = "nowhere/bin/python"\n' + ALEMBIC)


@red("migrate 1 of 1 (alembic)", "Path doesn't exist: ")
def a_history_that_is_not_there(site: Site) -> None:
    site.use_alembic()
    site.configure("seed = []")
    (site.root / "history").rename(site.root / "elsewhere")


@red("scratch database", "may not create a database on this server, and no throwaway server could be started.")
def no_place_for_a_scratch_database(site: Site) -> None:
    site.sql("alter role {role} nocreatedb")
    site.patch.setattr(sources, "sources", lambda: iter(()))
    site.patch.setenv("DBTOOLS_POSTGRES_IMAGE", "localhost:1/no/such/image:1")


@red("programs", "pg_dump of PostgreSQL ")
def no_programs(site: Site) -> None:
    site.use_alembic()
    site.configure("seed = []")
    for name in ("PACKAGE", "CONTRIB_PACKAGE"):
        site.patch.setattr(sources, name, "a_wheel_that_is_not_installed")
    site.patch.setattr(sources, "FOLDERS", ())
    site.patch.setenv("PATH", "")
    programs.find_program.cache_clear()


@red("guard", "it is marked as a production database.")
def a_marked_database(site: Site) -> None:
    site.build()
    site.sql("comment on database {database} is 'production'")


@red("guard", "this is a production environment.")
def a_production_environment(site: Site) -> None:
    site.build()
    site.environ["NODE_ENV"] = "production"


@red("guard", "it is on the protect list.")
def a_protected_database(site: Site) -> None:
    site.build()
    site.target = replace(site.target, rules=GuardRules(protect=("dbtools_test_*",)))


@red("guard", "it is read-only for this session.")
def a_read_only_database(site: Site) -> None:
    site.build()
    site.sql("alter database {database} set default_transaction_read_only to on")


@red("ownership", "strangers is there, without a mark of an earlier reset or a ledger of migrations.")
def tables_of_strangers(site: Site) -> None:
    site.build()
    site.sql("create table strangers (a int); alter table strangers owner to {role}")


@red("ownership", "table alembic_version has 4711, which is unknown to this project's history.")
def revisions_of_strangers(site: Site) -> None:
    site.use_alembic()
    site.build()
    site.sql("create table alembic_version (version_num text); insert into alembic_version values ('4711')")
    site.sql("alter table alembic_version owner to {role}")


@red("owners", "table public.theirs (owner postgres) belongs to another role.")
def a_table_of_another_owner(site: Site) -> None:
    site.reset()
    site.sql("create table theirs (a int)")


@red("dependents", "view other.v in another schema depends on it.")
def a_view_from_outside(site: Site) -> None:
    site.reset()
    site.sql("create schema other; create view other.v as select * from public.items")


@red("publications", "Schema public is published for logical replication: p.")
def a_publication(site: Site) -> None:
    site.reset()
    site.sql("create publication p for table public.items")


@red("database", "may not create a schema in database ")
def no_create_in_the_database(site: Site) -> None:
    site.reset()
    site.sql("alter database {database} owner to {admin}; revoke create on database {database} from {role}, public")
    site.sql("grant create on schema public to {role}")


@red("schema", "may not create anything in schema public.")
def no_create_in_the_schema(site: Site) -> None:
    site.reset()
    site.sql("alter schema public owner to {admin}; revoke create on schema public from {role}, public")


@red("roles", 'role "doctor_reader" does not exist')
def a_grant_to_a_role_that_is_gone(site: Site) -> None:
    site.sql("create role doctor_reader")
    try:
        site.write("seed.sql", f"{SEED}; grant select on items to doctor_reader")
        site.build()
    finally:
        site.sql("drop role doctor_reader")


@red("extensions", "The extension vector could not be created here.")
def an_extension_that_only_a_superuser_creates(site: Site) -> None:
    if site.admin.execute("select from pg_available_extensions where name = 'vector'").fetchone() is None:
        pytest.skip("the server has no extension vector")
    site.write("schema.sql", "create extension vector; create table items (id serial, name text, place vector(3))")
    site.sql("alter role {role} nocreatedb")
    site.build()  # on a throwaway server, as a superuser


@red("extensions", "The extension vector is in schema elsewhere, but the steps made it in public.")
def an_extension_in_another_schema(site: Site) -> None:
    an_extension_that_only_a_superuser_creates(site)
    site.sql("alter role {role} superuser; set role {role}")
    site.sql("create schema elsewhere; create extension vector schema elsewhere; reset role")
    site.sql("alter role {role} nosuperuser")


@red("build", "Step seed 1 of 1 (python seed.py) failed.", build=True)
def a_seed_that_fails(site: Site) -> None:
    site.configure('migrate = { sql = "schema.sql" }\nseed = ["python", "seed.py"]')
    site.write("seed.py", "print('half way')\nraise KeyError('url')")


@red("build", "AssertionError: no settings, at history/env.py:1.", build=True)
def an_environment_of_alembic_that_fails(site: Site) -> None:
    site.use_alembic()
    site.write("history/env.py", "raise AssertionError('no settings')")


@red("build", "changed nothing in the database that it was given.", build=True)
def a_step_that_does_nothing(site: Site) -> None:
    site.configure('migrate = { sql = "schema.sql" }\nseed = ["python", "-c", "pass"]')


@red("build", "The migrate steps (sql schema.sql) made no table.", build=True)
def migrations_that_make_no_table(site: Site) -> None:
    site.write("schema.sql", "create type mood as enum ('good')")


@red("build", 'extension "no_such_extension" is not available', build=True)
def a_missing_extension(site: Site) -> None:
    site.write("schema.sql", "create extension no_such_extension")


@red("trial", "violates check constraint", build=True)
def rows_that_break_a_rule_of_the_schema(site: Site) -> None:
    site.application = ToyShop()
    site.write("schema.sql", f"{TABLES}; alter table items add check (price < 0)")
    site.configure('migrate = { sql = "schema.sql" }\nseed = []')


@red("trial", "A trigger reaches outside of the schema that is being built", build=True)
def a_trigger_that_reaches_outside(site: Site) -> None:
    site.application = ToyShop()
    site.write(
        "schema.sql",
        f"""{TABLES}; create table log (shop text);
        create function note() returns trigger language plpgsql as
            $$ begin perform count(*) from public.log; return new; exception when others then return new; end $$;
        create trigger note after insert on shops for each row execute function note()""",
    )
    site.configure('migrate = { sql = "schema.sql" }\nseed = []')
    site.reset()


def check_red(site: Site, found: list[Finding], name: str, words: str) -> None:
    verdict = judge(found)
    assert verdict.works is False, "\n".join(map(str, found))
    stopping = [finding for finding in found if finding.passed is False]
    assert {finding.name for finding in stopping} == {name}
    assert verdict == Verdict(False, f"✗ A reset will not work here: {name}.", is_sound=False)
    assert words in str(stopping[0])
    assert stopping[0].hint
    before = digest(site.admin)
    with pytest.raises(DbtoolsError) as caught:
        site.reset()
    assert words in str(caught.value)
    assert digest(site.admin) == before


@pytest.mark.parametrize(
    ("name", "build"),
    [(name, False) for name in GREEN]
    + [(name, True) for name in ("a_snapshot_that_fits", "two_heads", "a_publication_in_place", "behind_the_heads")],
)
def test_where_it_says_yes_a_reset_works(name: str, build: bool, site: Site) -> None:
    GREEN[name](site)
    before = digest(site.admin)
    found = site.doctor(build=build)
    assert digest(site.admin) == before
    assert judge(found) == Verdict(True, "✓ A reset will work here.", is_sound=True), "\n".join(map(str, found))
    site.reset()


@pytest.mark.parametrize("name", RED)
def test_where_it_says_no_a_reset_fails_for_the_same_reason(name: str, site: Site) -> None:
    state, finding, words = RED[name]
    state(site)
    before = digest(site.admin)
    found = site.doctor()
    assert digest(site.admin) == before
    check_red(site, found, finding, words)


@pytest.mark.parametrize("name", ONLY_BUILD)
def test_what_only_the_steps_show_is_in_doubt_until_they_run(name: str, site: Site) -> None:
    state, finding, words = ONLY_BUILD[name]
    state(site)
    assert judge(site.doctor()).works is None
    before = digest(site.admin)
    found = site.doctor(build=True)
    assert digest(site.admin) == before
    check_red(site, found, finding, words)


def named(found: list[Finding]) -> dict[str, Finding]:
    return {finding.name: finding for finding in found}


def test_without_a_snapshot_it_does_not_claim_that_a_reset_works(site: Site) -> None:
    found = site.doctor()
    assert named(found)["snapshot"].detail == "none fits; the next reset runs the migrate steps, seed steps"
    assert judge(found).text == (
        "? Nothing was found that stops a reset; in doubt: snapshot. To try it aside: invoke doctor --build"
    )
    site.reset()


def test_what_stops_a_reset_depends_on_the_schemas_that_the_steps_fill(site: Site) -> None:
    site.sql("create table strangers (a int); create publication p for table strangers")
    site.configure('migrate = { sql = "schema.sql" }\nseed = []')
    site.write("schema.sql", "create schema app; create table app.items (a int)")
    doubts = [finding.name for finding in site.doctor() if finding.in_doubt]
    assert doubts == ["snapshot", "ownership", "publications", "owners"]
    site.build()
    assert judge(site.doctor()).works is True  # they are in none of them
    site.reset()
    assert site.admin.execute("select to_regclass('public.strangers')::text").fetchone() == ("strangers",)


def test_every_obstacle_is_listed(site: Site) -> None:
    site.configure(f"{SQL}\nvariables = []")
    site.reset()
    site.environ["NODE_ENV"] = "production"
    site.sql("comment on database {database} is 'production'; create table theirs (a int)")
    site.sql("drop table dbtools.installed")
    site.sql("create schema other; create view other.v as select * from public.items")
    site.sql("create publication p for table public.items; alter schema public owner to {admin}")
    site.sql("revoke create on schema public from {role}, public")
    verdict = judge(site.doctor())
    assert verdict.text == ("✗ A reset will not work here: guard, ownership, schema, publications, owners, dependents.")
    assert sum(str(finding).startswith("✗ guard: ") for finding in site.doctor()) == 2
    with pytest.raises(DbtoolsError, match="this is a production environment"):
        site.reset()


def test_a_build_tells_what_each_step_did_and_what_the_settings_named(site: Site) -> None:
    site.use_alembic()
    site.revise("0002", "0001", "create table left_ones (a int)")
    site.revise("0003", "0001", "create table right_ones (a int); insert into right_ones values (1)")
    found = named(site.doctor(build=True))
    assert (found["heads"].passed, found["heads"].detail) == (
        None,
        "2 (0002, 0003): the migrations are brought to all of them",
    )
    migrated, seeded = found["ran migrate 1 of 1 (alembic)"], found["ran seed 1 of 1 (sql seed.sql)"]
    assert migrated.detail.startswith("tables 0 to 4, rows 0 to 3, in ")
    assert migrated.why == "Led here, although the project's settings name: psycopg nobody@db.example.com/trap"
    assert seeded.detail.startswith("tables 4 to 4, rows 3 to 5, in ")
    assert seeded.why == ""
    assert found["trial"].detail.startswith("two resets of a scratch database on the same server, 5 rows, in ")
    site.built.clear()
    site.reset()
    assert site.built == []  # the snapshot is kept


def test_an_old_snapshot_of_the_migrations_needs_only_the_seed(site: Site) -> None:
    site.use_alembic()
    site.configure('seed = ["python", "seed.py"]')
    program = f"import os, psycopg\nwith psycopg.connect(os.environ['DATABASE_URL']) as c: c.execute({SEED!r})"
    site.write("seed.py", program)
    site.build()
    site.write("seed.py", f"{program}  # changed")
    found = named(site.doctor())
    assert found["snapshot"].detail == "none fits; the next reset runs the seed steps"


def test_a_step_that_fails_now_stops_no_reset_where_the_snapshot_fits(site: Site) -> None:
    a_program_that_is_gone_where_the_snapshot_fits(site)
    found = site.doctor(build=True)
    told = named(found)["build"]
    assert (told.passed, told.detail) == (None, "Step seed 1 of 1 (bin/seed) failed.")
    assert judge(found).text == "✓ A reset will work here."
    site.reset()


def test_what_an_earlier_step_may_make_is_in_doubt(site: Site) -> None:
    site.configure('migrate = ["python", "make.py"]\nseed = { sql = "made/*.sql" }')
    site.write(
        "make.py",
        f"""
        import os, pathlib, psycopg
        with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
            connection.execute("create table items (id serial, name text)")
        pathlib.Path("made").mkdir(exist_ok=True)
        pathlib.Path("made/seed.sql").write_text({SEED!r})
        """,
    )
    found = site.doctor()
    assert named(found)["seed 1 of 1 (sql made/*.sql)"].in_doubt
    assert judge(found).works is None
    found = site.doctor(build=True)
    assert str(named(found)["seed 1 of 1 (sql made/*.sql)"]).startswith("· ")
    assert judge(found).works is True
    site.reset()


def test_a_trial_is_made_also_where_the_guard_refuses(site: Site) -> None:
    a_protected_database(site)
    site.environ["NODE_ENV"] = "production"
    found = site.doctor(build=True)
    assert judge(found).text == "✗ A reset will not work here: guard."
    assert named(found)["trial"].passed is True


def test_a_revision_of_another_branch_is_named(site: Site) -> None:
    site.use_alembic()
    site.revise("0002", "0001", "create table more (a int)")
    site.reset()
    (site.root / "history" / "versions" / "0002.py").unlink()
    for build in (False, True):
        found = site.doctor(build=build)
        told = named(found)["migrations"]
        assert (told.passed, told.detail) == (None, "at 0002; unknown to this project's history: 0002")
    assert judge(found).works is True  # the database bears our mark
    site.reset()


def test_broken_data_stops_no_reset(site: Site) -> None:
    site.application = Ruled()
    site.write("schema.sql", TABLES)
    site.configure('migrate = { sql = "schema.sql" }\nseed = []')
    site.reset()
    found = site.doctor(build=True)
    rule = named(found)["no row"]
    assert (rule.passed, rule.about) == (False, "data")
    assert rule.detail.startswith("1 row breaks it, such as (1,")  # it may name its columns as it likes
    assert judge(found) == Verdict(
        True, "✓ A reset will work here. It would replace the data, which is not sound: no row.", is_sound=False
    )
    site.reset()
    assert named(site.doctor())["rows"].in_doubt


class Ruled(ToyShop):
    invariants = (Invariant("no row", "select 1 as r, name as broken from shops where id = 1"),)


@pytest.mark.skipif(PROGRAM is None, reason="no pgbouncer (Debian: apt-get install pgbouncer)")
def test_a_pooler_is_named_and_nothing_is_left_set_on_its_sessions(site: Site) -> None:
    site.application = Ruled()
    site.write("schema.sql", TABLES)
    site.configure('migrate = { sql = "schema.sql" }\nseed = []')
    site.reset()
    with pooler(site.target.dsn.url, "transaction", size=1) as url:
        site.target = replace(site.target, dsn=Dsn.parse(url))
        for build in (False, True):
            pooled = named(site.doctor(build=build))["pooler"]
            assert str(pooled) == (
                "· pooler: one in transaction mode stands before the server: reset and seed work through it, migrate"
                " does not\n  For migrate, connect past it, or to one in session mode."
            )
        with psycopg.connect(url, autocommit=True) as session:
            for name in ("lock_timeout", "search_path", "default_transaction_read_only"):
                here, there = (one.execute(f"show {name}").fetchone() for one in (session, site.admin))
                assert here == there
        site.reset()


def test_where_no_database_may_be_made_it_is_a_throwaway_server(site: Site) -> None:
    site.sql("alter role {role} nocreatedb")
    found = site.doctor()
    assert str(named(found)["scratch database"]) == (
        f"✓ scratch database: on a throwaway server of PostgreSQL {site.admin.info.server_version // 10000}:"
        f" role {site.target.dsn.user} may not create a database on this server"
    )
    site.reset()


def test_a_package_that_extends_its_path_is_no_obstacle(site: Site) -> None:
    site.configure('migrate = { sql = "schema.sql" }\nseed = { call = "app.seed:run" }')
    site.write("app/__init__.py", "import os\n__path__.append(os.path.dirname(__file__) + '/elsewhere')")
    site.write("app/elsewhere/seed.py", "def run(connection): connection.execute('insert into items values (3)')")
    assert named(site.doctor())["seed 1 of 1 (call app.seed:run)"].passed is True
    site.reset()


def test_nothing_of_the_project_is_run(site: Site) -> None:
    site.use_alembic()
    site.configure('seed = { call = "app.seed:run" }')
    for name in ("history/env.py", "history/versions/0001.py", "app/__init__.py", "app/seed.py"):
        path = site.root / name
        text = path.read_text("utf-8") if path.exists() else ""
        site.write(name, f"import pathlib; pathlib.Path({str(site.root / 'trace')!r}).touch()\n{text}")
    found = site.doctor()
    assert not (site.root / "trace").exists()
    assert named(found)["migrate 1 of 1 (alembic)"].detail.startswith("1 revision in history, Alembic ")
