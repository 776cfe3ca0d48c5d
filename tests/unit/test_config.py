"""Settings: precedence, empty is unset, and every refusal in full."""

import datetime as dt
from pathlib import Path

import pytest

from dbtools.config import LOCK_KEY, Project, SeedPlan, database, parse_bool, parse_number, parse_shard
from dbtools.config.steps import Step
from dbtools.errors import ConfigurationError
from dbtools.server.requirements import Requirements
from tests.support.toy import ToyShop

TOY = ToyShop()


def write(folder: Path, text: str) -> Path:
    (folder / "pyproject.toml").write_text(text, "utf-8")
    return folder


def test_the_lock_key_spells_groo() -> None:
    assert LOCK_KEY == 1196576591
    assert LOCK_KEY.to_bytes(4, "big") == b"GROO"


def test_the_nearest_project_above_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, '[tool.dbtools]\nmigrate = ["make", "db"]\npool-size = 3\nlock-timeout = 5\n')
    inner = tmp_path / "x" / "y"
    inner.mkdir(parents=True)
    (tmp_path / "x" / "pyproject.toml").write_text("[project]\nname = 'other'\n")
    project = Project.find(inner)
    steps = (Step("command", ("make", "db"), tmp_path),)
    assert project == Project(tmp_path, steps, races=tmp_path / "races", pool_size=3, lock_timeout=5)
    monkeypatch.chdir(inner)
    assert Project.find() == project


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[tool.dbtools\n", "{path} cannot be read.\nIt is not valid TOML: "),
        (
            "poolsize = 3",
            "[tool.dbtools] in {path} has an unknown key: 'poolsize'.\n"
            "Known keys: allow-hosts, env, inputs, lock-key, lock-timeout, migrate, pool-size, protect, python, races,"
            " schema, schemas, seed, server, snapshot-cache, strategy, variables. Nothing was changed.\n"
            "Correct or remove it.",
        ),
        (
            'pool-size = "many"',
            "[tool.dbtools] pool-size in {path} cannot be 'many'.\n"
            "Wanted a whole number. Nothing was changed.\nFor example: pool-size = 6",
        ),
        (
            "pool-size = true",
            "[tool.dbtools] pool-size in {path} cannot be True.\n"
            "Wanted a whole number. Nothing was changed.\nFor example: pool-size = 6",
        ),
        (
            "lock-timeout = -1",
            "[tool.dbtools] lock-timeout in {path} cannot be -1.\n"
            "Wanted a number of seconds, 0 or more. Nothing was changed.\nFor example: lock-timeout = 300",
        ),
        (
            'strategy = "in place"',
            "[tool.dbtools] strategy in {path} cannot be 'in place'.\n"
            'Wanted one of swap, in-place. Nothing was changed.\nFor example: strategy = "in-place"',
        ),
        (
            'protect = "prod*"',
            "[tool.dbtools] protect in {path} cannot be 'prod*'.\n"
            'Wanted a list of texts, none of them empty. Nothing was changed.\nFor example: protect = ["prod*"]',
        ),
        (
            'allow-hosts = ["db", 1]',
            "[tool.dbtools] allow-hosts in {path} cannot be ['db', 1].\n"
            'Wanted a list of texts, none of them empty. Nothing was changed.\nFor example: allow-hosts = ["db"]',
        ),
        (
            'schema = "pg_catalog"',
            "[tool.dbtools] schema in {path} cannot be 'pg_catalog'.\n"
            "It belongs to PostgreSQL itself. Nothing was changed.\n"
            "Name the schema that holds the application's tables.",
        ),
        (
            'schema = "$user"',
            "[tool.dbtools] schema in {path} cannot be '$user'.\n"
            "In a search_path that stands for the role's name. Nothing was changed.\n"
            "Name the schema that holds the application's tables.",
        ),
        (
            f'schema = "{"é" * 32}"',
            f"[tool.dbtools] schema in {{path}} cannot be '{'é' * 32}'.\n"
            "A schema's name has 1 to 63 bytes; the server would cut a longer one. Nothing was changed.\n"
            "Name the schema that holds the application's tables.",
        ),
        (
            'schemas = ["public", "public"]',
            "[tool.dbtools] schemas in {path} cannot be ['public', 'public'].\n"
            "Wanted a list of one schema or more, each once. Nothing was changed.\n"
            'For example: schemas = ["public", "drizzle"]',
        ),
        (
            'schemas = ["public", "pg_toast"]',
            "[tool.dbtools] schemas in {path} cannot be 'pg_toast'.\nIt belongs to PostgreSQL itself.",
        ),
        (
            'schema = "a"\nschemas = ["a", "b"]',
            "[tool.dbtools] in {path} has both schema and schemas.\n"
            "Each names the schemas that belong to the application: schema one, schemas several. Nothing was changed.\n"
            'Keep one of them. For example: schemas = ["a", "b"]',
        ),
        (
            'snapshot-cache = "2 GiB"',
            "[tool.dbtools] snapshot-cache in {path} cannot be '2 GiB'.\n"
            "Wanted a text of a number and one of KB, MB, GB, TB. Nothing was changed.\n"
            'For example: snapshot-cache = "2 GB"',
        ),
        (
            "python = 3",
            "[tool.dbtools] python in {path} cannot be 3.\n"
            'Wanted the path of an interpreter. Nothing was changed.\nFor example: python = ".venv/bin/python"',
        ),
        (
            "[tool.dbtools.server]\nmajor = 13",
            "[tool.dbtools] server, major in {path} cannot be 13.\n"
            "Wanted a whole number from 14 to 18. Nothing was changed.\nFor example: major = 16",
        ),
        (
            "[tool.dbtools.server]\nversion = 16",
            "[tool.dbtools] server in {path} has an unknown key: 'version'.\n"
            "Known keys: extensions, major, settings. Nothing was changed.\nCorrect or remove it.",
        ),
        (
            '[tool.dbtools.server]\nsettings = { "max connections" = 3 }',
            "[tool.dbtools] server, settings in {path} cannot have max connections.\n"
            "No setting can have that name. Nothing was changed.\n"
            "Correct or remove it; a server of your own, named by DATABASE_URL, has its own settings.",
        ),
        (
            '[tool.dbtools.server]\nsettings = { Port = 5432, work_mem = "8MB" }',
            "[tool.dbtools] server, settings in {path} cannot have Port.\n"
            "It is set by dbtools itself, to find its servers again, to keep others out and to read what they say."
            " Nothing was changed.\n"
            "Correct or remove it; a server of your own, named by DATABASE_URL, has its own settings.",
        ),
    ],
)
def test_a_wrong_table_is_refused(tmp_path: Path, text: str, message: str) -> None:
    write(
        tmp_path, text if text.startswith("[tool.dbtools\n") else f'[tool.dbtools]\nmigrate = ["make", "db"]\n{text}\n'
    )
    with pytest.raises(ConfigurationError) as caught:
        Project.find(tmp_path)
    wanted = message.replace("{path}", str(tmp_path / "pyproject.toml")).replace("{{", "{").replace("}}", "}")
    assert str(caught.value).startswith(wanted)


def test_the_whole_table_is_read(tmp_path: Path) -> None:
    write(
        tmp_path,
        """
        [tool.dbtools]
        migrate = ["npm", "run", "migrate"]
        seed = { rows = "shop.application:application" }
        inputs = ["db/**", "package-lock.json"]
        env = { POSTGRES_DB = "{dbname}", JSON = '{"a": {}}' }
        variables = ["SEED_*"]
        python = ".venv/bin/python"
        schemas = ["shop", "drizzle"]
        races = "tests/races"
        snapshot-cache = "500 MB"

        [tool.dbtools.server]
        major = 17
        extensions = ["citext"]
        settings = { shared_buffers = "64MB", max_connections = 50, fsync = false }
        """,
    )
    assert Project.find(tmp_path) == Project(
        tmp_path,
        (Step("command", ("npm", "run", "migrate"), tmp_path),),
        (Step("rows", ("shop.application:application",), tmp_path),),
        inputs=("db/**", "package-lock.json"),
        env={"POSTGRES_DB": "{dbname}", "JSON": '{"a": {}}'},
        variables=("SEED_*",),
        python=tmp_path / ".venv/bin/python",
        schemas=("shop", "drizzle"),
        schema="shop",
        races=tmp_path / "tests/races",
        snapshot_cache_bytes=500_000_000,
        server=Requirements(17, ("citext",), {"shared_buffers": "64MB", "max_connections": "50", "fsync": "off"}),
    )


def test_one_schema_is_the_only_one(tmp_path: Path) -> None:
    write(tmp_path, '[tool.dbtools]\nmigrate = ["make"]\nschema = "shop"\n')
    project = Project.find(tmp_path)
    assert (project.schema, project.schemas) == ("shop", ("shop",))
    write(tmp_path, '[tool.dbtools]\nmigrate = ["make"]\n')
    project = Project.find(tmp_path)
    assert (project.schema, project.schemas) == ("public", None)


def test_a_table_that_is_no_table(tmp_path: Path) -> None:
    write(tmp_path, "[tool]\ndbtools = 3\n")
    with pytest.raises(ConfigurationError, match="is not a table"):
        Project.find(tmp_path)


def test_the_guards_lists_are_read(tmp_path: Path) -> None:
    write(tmp_path, '[tool.dbtools]\nmigrate = ["make", "db"]\nallow-hosts = ["db"]\nprotect = ["p*"]\n')
    project = Project.find(tmp_path)
    assert (project.allow_hosts, project.protect) == (("db",), ("p*",))


def test_no_project_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No project was found in"):
        Project.find(tmp_path)


def test_an_application_that_is_not_there(tmp_path: Path) -> None:
    project = Project(tmp_path, seed=(Step("rows", ("no_such_module:thing",), tmp_path),))
    with pytest.raises(ConfigurationError) as caught:
        project.load_application()
    assert str(caught.value) == (
        "The application 'no_such_module:thing' could not be loaded.\nNo module named 'no_such_module'.\n"
        'Name it in [tool.dbtools]: seed = { rows = "package.module:object" }'
    )
    assert Project(root=tmp_path).load_application() is None


def test_a_flag_beats_the_environment_which_beats_the_default() -> None:
    assert SeedPlan.resolve(TOY, environ={}).profile == "small"
    assert SeedPlan.resolve(TOY, environ={"SEED_PROFILE": ""}).profile == "small"
    assert SeedPlan.resolve(TOY, environ={"SEED_PROFILE": "large"}).profile == "large"
    assert SeedPlan.resolve(TOY, profile="small", environ={"SEED_PROFILE": "large"}).profile == "small"
    environ = {"SEED_AS_OF": "2024-02-29"}
    assert SeedPlan.resolve(TOY, environ=environ).as_of == dt.date(2024, 2, 29)
    assert SeedPlan.resolve(TOY, as_of="2025-01-01", environ=environ).as_of == dt.date(2025, 1, 1)
    before = dt.datetime.now(dt.UTC).date()
    assert before <= SeedPlan.resolve(TOY, environ={}).as_of <= dt.datetime.now(dt.UTC).date()


def test_an_unknown_profile_names_the_known_ones() -> None:
    with pytest.raises(ConfigurationError) as caught:
        SeedPlan.resolve(TOY, profile="prod", environ={})
    assert str(caught.value) == (
        "--profile names an unknown profile: 'prod'.\nNothing was changed.\nChoose one of: small, large."
    )
    with pytest.raises(ConfigurationError, match="^SEED_PROFILE names an unknown profile: 'prod'"):
        SeedPlan.resolve(TOY, environ={"SEED_PROFILE": "prod"})


@pytest.mark.parametrize("text", ["yesterday", "2026-02-30", "23.11.2026", "2026-1-1"])
def test_a_date_that_is_none(text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        SeedPlan.resolve(TOY, as_of=text, environ={})
    assert str(caught.value) == (
        f"--as-of is not a date: {text!r}.\nWanted year, month and day. Nothing was changed.\n"
        "For example: --as-of 2026-11-23"
    )


def test_booleans_and_numbers_are_refused_in_words() -> None:
    assert parse_bool("X", {"X": "TRUE"}) is True
    assert parse_bool("X", {"X": "off"}) is False
    with pytest.raises(ConfigurationError) as caught:
        parse_bool("ALLOW_RESET", {"ALLOW_RESET": "maybe"})
    assert str(caught.value) == (
        "ALLOW_RESET is neither true nor false.\nIt is 'maybe'. Nothing was changed.\n"
        "Set ALLOW_RESET=true or ALLOW_RESET=false, or unset it."
    )
    assert parse_number("--timeout", "2.5", low=0, whole=False) == 2.5
    for text in ("-1", "soon", "nan", "1.5"):
        with pytest.raises(ConfigurationError) as caught:
            parse_number("--rounds", text, low=1)
        assert str(caught.value) == (
            f"--rounds is not a number, or out of range: {text!r}.\n"
            "Wanted a whole number of at least 1. Nothing was changed.\nFor example: --rounds 10"
        )


def test_an_empty_database_url_counts_as_unset() -> None:
    assert database({}) is None
    assert database({"DATABASE_URL": ""}) is None
    found = database({"DATABASE_URL": "postgres://u@h/d"})
    assert found is not None
    assert found.dbname == "d"


def test_the_cache_is_in_the_project_unless_a_variable_places_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, other = tmp_path / "shop", tmp_path / "other" / "shop"
    root.mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert Project(root).cache == root / ".dbtools" / "cache"
    monkeypatch.setattr("os.access", lambda path, mode: False)  # as on a read-only file system
    assert Project(root).cache.parent == tmp_path / "xdg" / "dbtools" / "projects"
    monkeypatch.setenv("DBTOOLS_CACHE", str(tmp_path / "wanted"))
    assert Project(root).cache.parent == tmp_path / "wanted"
    assert Project(root).cache.name.startswith("shop-")
    other.mkdir(parents=True)
    assert Project(root).cache != Project(other).cache
    monkeypatch.delenv("DBTOOLS_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert Project(root).cache == root / ".dbtools" / "cache"


@pytest.mark.parametrize(
    ("text", "index", "shard"),
    [
        ("", "", (1, 1)),
        ("1/1", "", (1, 1)),
        ("3/8", "5", (3, 8)),
        ("8/8", "", (8, 8)),
        ("job/8", "0", (1, 8)),
        ("job/8", "7", (8, 8)),
    ],
)
def test_a_shard_is_named(text: str, index: str, shard: tuple[int, int]) -> None:
    assert parse_shard(text, {"JOB_COMPLETION_INDEX": index}) == shard


@pytest.mark.parametrize(
    ("text", "index"),
    [(text, "") for text in ("3", "0/8", "9/8", "3/0", "-1/8", "3/8/1", "a/b", " 3/8")] + [("job/8", "8")],
)
def test_a_shard_that_there_is_not(text: str, index: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_shard(text, {"JOB_COMPLETION_INDEX": index})
    assert str(caught.value) == (
        f"--shard cannot be {text!r}.\n"
        "It takes the number of the shard, from 1 on, and how many there are. Nothing was changed.\n"
        "For example, the third of eight: --shard 3/8"
    )


def test_a_job_without_an_index_is_refused() -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_shard("job/8", {})
    assert str(caught.value) == (
        "--shard job/8 does not say which shard.\n"
        "JOB_COMPLETION_INDEX is ''; an Indexed Job of Kubernetes sets it to a number. Nothing was changed.\n"
        "Say the number: --shard 1/8"
    )
