"""Settings: precedence, empty is unset, and every refusal in full."""

import datetime as dt
from pathlib import Path

import pytest

from dbtools.config import LOCK_KEY, Project, SeedPlan, database, parse_bool, parse_number
from dbtools.errors import ConfigurationError
from tests.support.toy import ToyShop

TOY = ToyShop()


def write(folder: Path, text: str) -> Path:
    (folder / "pyproject.toml").write_text(text, "utf-8")
    return folder


def test_the_lock_key_spells_groo() -> None:
    assert LOCK_KEY == 1196576591
    assert LOCK_KEY.to_bytes(4, "big") == b"GROO"


def test_the_nearest_project_above_is_found(tmp_path: Path) -> None:
    write(tmp_path, '[tool.dbtools]\napplication = "a:b"\nmigrations = "m"\npool-size = 3\nlock-timeout = 5\n')
    inner = tmp_path / "x" / "y"
    inner.mkdir(parents=True)
    (tmp_path / "x" / "pyproject.toml").write_text("[project]\nname = 'other'\n")
    project = Project.find(inner)
    assert project == Project(tmp_path, "a:b", tmp_path / "m", tmp_path / "races", pool_size=3, lock_timeout=5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[tool.dbtools\n", "{path} cannot be read.\nIt is not valid TOML: "),
        (
            '[tool.dbtools]\napplication = "a:b"\nmigrations = "m"\npoolsize = 3\n',
            "[tool.dbtools] in {path} has an unknown key: 'poolsize'.\n"
            "Known keys: allow-hosts, application, lock-key, lock-timeout, migrations, pool-size, protect, races,"
            " schema, strategy.\n"
            "Correct or remove it.",
        ),
        (
            '[tool.dbtools]\napplication = "a:b"\nmigrations = "m"\npool-size = "many"\n',
            "[tool.dbtools] pool-size in {path} is not of the right type.\nIt is 'many'; wanted int.\nCorrect it.",
        ),
        (
            '[tool.dbtools]\napplication = "a:b"\nmigrations = "m"\nstrategy = "in place"\n',
            "[tool.dbtools] strategy in {path} is unknown: 'in place'.\n"
            "Nothing was changed.\nChoose one of: swap, in-place.",
        ),
        (
            '[tool.dbtools]\napplication = "a:b"\nmigrations = "m"\nprotect = "prod*"\n',
            "[tool.dbtools] protect in {path} is not of the right type.\n"
            "It is 'prod*'; wanted list of str.\nCorrect it.",
        ),
        (
            '[tool.dbtools]\napplication = "a:b"\nmigrations = "m"\nallow-hosts = ["db", 1]\n',
            "[tool.dbtools] allow-hosts in {path} is not of the right type.\n"
            "It is ['db', 1]; wanted list of str.\nCorrect it.",
        ),
        (
            '[tool.dbtools]\napplication = "a:b"\nmigrations = "m"\nschema = "pg_catalog"\n',
            "[tool.dbtools] schema in {path} cannot be 'pg_catalog'.\n"
            "It belongs to PostgreSQL itself. Nothing was changed.\n"
            "Name the schema that holds the application's tables.",
        ),
        (
            '[tool.dbtools]\napplication = "a:b"\nmigrations = "m"\nschema = "$user"\n',
            "[tool.dbtools] schema in {path} cannot be '$user'.\n"
            "In a search_path that stands for the role's name. Nothing was changed.\n"
            "Name the schema that holds the application's tables.",
        ),
        (
            f'[tool.dbtools]\napplication = "a:b"\nmigrations = "m"\nschema = "{"é" * 32}"\n',
            f"[tool.dbtools] schema in {{path}} cannot be '{'é' * 32}'.\n"
            "A schema's name has 1 to 63 bytes; the server would cut a longer one. Nothing was changed.\n"
            "Name the schema that holds the application's tables.",
        ),
        (
            '[tool.dbtools]\napplication = "a:b"\n',
            "[tool.dbtools] in {path} lacks the key 'migrations'.\n"
            "dbtools cannot guess which application to seed or where its migrations are.\n"
            'For example: application = "package.module:object", migrations = "migrations"',
        ),
    ],
)
def test_a_wrong_table_is_refused(tmp_path: Path, text: str, message: str) -> None:
    write(tmp_path, text)
    with pytest.raises(ConfigurationError) as caught:
        Project.find(tmp_path)
    assert str(caught.value).startswith(message.format(path=tmp_path / "pyproject.toml"))


def test_the_guards_lists_are_read(tmp_path: Path) -> None:
    write(tmp_path, '[tool.dbtools]\napplication = "a:b"\nmigrations = "m"\nallow-hosts = ["db"]\nprotect = ["p*"]\n')
    project = Project.find(tmp_path)
    assert (project.allow_hosts, project.protect) == (("db",), ("p*",))


def test_no_project_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No project was found in"):
        Project.find(tmp_path)


def test_an_application_that_is_not_there(tmp_path: Path) -> None:
    project = Project(tmp_path, "no_such_module:thing", tmp_path)
    with pytest.raises(ConfigurationError) as caught:
        project.load_application()
    assert str(caught.value) == (
        "The application 'no_such_module:thing' could not be loaded.\nNo module named 'no_such_module'.\n"
        'Name it in [tool.dbtools]: application = "package.module:object"'
    )


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
