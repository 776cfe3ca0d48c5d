"""The steps of [tool.dbtools]: every form, the default, and every refusal."""

from pathlib import Path

import pytest

from dbtools.config import Project
from dbtools.config.steps import Step
from dbtools.errors import ConfigurationError


def project(folder: Path, text: str = "", *, before: str = "") -> Project:
    (folder / "pyproject.toml").write_text(f"{before}\n[tool.dbtools]\n{text}\n", "utf-8")
    return Project.find(folder)


def refusal(folder: Path, text: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        project(folder, text)
    assert caught.value.state == "Nothing was changed."
    return str(caught.value).replace(str(folder), "ROOT")


def test_an_empty_table_migrates_with_alembic(tmp_path: Path) -> None:
    (tmp_path / "alembic.ini").touch()
    found = project(tmp_path)
    assert found.migrate == (Step("alembic", (), tmp_path),)
    assert found.seed == ()
    assert found.migrate[0].title == "alembic"


def test_alembic_may_be_configured_in_pyproject(tmp_path: Path) -> None:
    assert project(tmp_path, before="[tool.alembic]").migrate == (Step("alembic", (), tmp_path),)


@pytest.mark.parametrize("text", ["", 'migrate = "alembic"', 'seed = ["python", "seed.py"]'])
def test_no_alembic_anywhere(tmp_path: Path, text: str) -> None:
    (tmp_path / "backend").mkdir()
    (tmp_path / "backend" / "alembic.ini").touch()
    assert refusal(tmp_path, text) == (
        "[tool.dbtools] in ROOT/pyproject.toml does not say how the database is migrated.\n"
        "ROOT has neither an alembic.ini nor a [tool.alembic] in its pyproject.toml, and dbtools looks for Alembic"
        " nowhere else. Nothing was changed.\n"
        'Write one of: migrate = { alembic = "alembic.ini", cwd = "backend" };'
        ' migrate = ["npx", "drizzle-kit", "migrate"]; migrate = { sql = "db/*.sql" }'
    )


def test_every_form_of_a_step(tmp_path: Path) -> None:
    (tmp_path / "backend").mkdir()
    (tmp_path / "backend" / "alembic.ini").touch()
    backend = tmp_path / "backend"
    for text, step, title in (
        ('["python", "-m", "app.seed"]', Step("command", ("python", "-m", "app.seed"), tmp_path), "python -m app.seed"),
        (
            '{ command = ["sh", "-c", "a  b"], cwd = "backend", env = { A = "{dbname} {x" }, timeout = 600 }',
            Step("command", ("sh", "-c", "a  b"), backend, {"A": "{dbname} {x"}, 600.0),
            "sh -c 'a b'",
        ),
        ('{ alembic = "backend/alembic.ini" }', Step("alembic", ("backend/alembic.ini",), tmp_path), None),
        ('{ alembic = "alembic.ini", cwd = "backend" }', Step("alembic", ("backend/alembic.ini",), backend), None),
        ('{ sql = "db/*.sql" }', Step("sql", ("db/*.sql",), tmp_path), "sql db/*.sql"),
        (
            '{ sql = ["a.sql", "b.sql"], cwd = "backend" }',
            Step("sql", ("backend/a.sql", "backend/b.sql"), backend),
            None,
        ),
        ('{ call = "app.seed:run" }', Step("call", ("app.seed:run",), tmp_path), "call app.seed:run"),
        ('{ call = "app.seed:Seeder.run" }', Step("call", ("app.seed:Seeder.run",), tmp_path), None),
        ('{ rows = "app:application" }', Step("rows", ("app:application",), tmp_path), "rows app:application"),
    ):
        (found,) = project(tmp_path, f'migrate = ["make"]\nseed = {text}').seed
        assert found == step
        assert title is None or found.title == title


def test_a_list_of_texts_is_one_command_and_any_other_list_is_steps(tmp_path: Path) -> None:
    (tmp_path / "alembic.ini").touch()
    found = project(tmp_path, 'migrate = [["npm", "ci"], "alembic", { sql = "x.sql" }]\nseed = [["a", "b"]]')
    assert [step.title for step in found.migrate] == ["npm ci", "alembic", "sql x.sql"]
    assert found.seed == (Step("command", ("a", "b"), tmp_path),)


def test_an_empty_list_is_no_step(tmp_path: Path) -> None:
    (tmp_path / "alembic.ini").touch()
    assert project(tmp_path, 'migrate = []\nseed = { sql = "dump.sql" }').migrate == ()
    assert refusal(tmp_path, "migrate = []\nseed = []") == (
        "[tool.dbtools] in ROOT/pyproject.toml has no steps.\n"
        "migrate is an empty list, and there is no seed: nothing would make the database's content."
        ' Nothing was changed.\nFor example: migrate = "alembic"'
    )


@pytest.mark.parametrize(
    ("text", "example"),
    [
        ("npx drizzle-kit migrate", '["npx", "drizzle-kit", "migrate"]'),
        ("echo 'it", '["echo", "\'it"]'),
        ("app.seed:run", '{ call = "app.seed:run" }'),
        ("backend/alembic.ini", '{ alembic = "backend/alembic.ini" }'),
        ("db/*.sql", '{ sql = "db/*.sql" }'),
        ("", '"alembic"'),
    ],
)
def test_a_bare_text_is_shown_as_what_it_may_mean(tmp_path: Path, text: str, example: str) -> None:
    assert refusal(tmp_path, f'migrate = "{text}"') == (
        f"[tool.dbtools] migrate in ROOT/pyproject.toml cannot be {text!r}.\n"
        'Wanted a list for a command, a table for anything else; "alembic" alone is a word. Nothing was changed.\n'
        f"For example: migrate = {example}"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            'migrate = ["make"]\nseed = [["a"], { sql = "x" }, 3]',
            "seed, step 3 in ROOT/pyproject.toml cannot be 3.\nWanted a step or a list of steps.",
        ),
        (
            'migrate = [["a", ["b"]]]',
            "migrate, step 1 in ROOT/pyproject.toml cannot be ['a', ['b']].\nWanted a list of texts: the program",
        ),
        ('migrate = [""]', "migrate in ROOT/pyproject.toml cannot be [''].\nWanted a list of texts"),
        (
            'migrate = { sql = "a.sql", call = "a:b" }',
            "migrate in ROOT/pyproject.toml cannot be {'sql': 'a.sql', 'call': 'a:b'}.\n"
            "Wanted exactly one of the keys alembic, command, sql, call, rows.",
        ),
        (
            'migrate = { sql = "a.sql", dir = "b" }',
            "migrate in ROOT/pyproject.toml has an unknown key: 'dir'.\n"
            "Known keys: alembic, call, command, cwd, env, rows, sql, timeout.",
        ),
        (
            'migrate = { command = "make db" }',
            "migrate, command in ROOT/pyproject.toml cannot be 'make db'.\n"
            "Wanted a list: the program and its arguments. Nothing was changed.\n"
            'For example: ["make", "db"]',
        ),
        (
            'migrate = { alembic = "db/alembic.ini" }',
            "migrate, alembic in ROOT/pyproject.toml cannot be 'db/alembic.ini'.\n"
            "Wanted a file that exists, and ROOT/db/alembic.ini does not.",
        ),
        ("migrate = { sql = [] }", "migrate, sql in ROOT/pyproject.toml cannot be [].\nWanted a pattern of files"),
        (
            'migrate = { call = "app.seed" }',
            "migrate, call in ROOT/pyproject.toml cannot be 'app.seed'.\n"
            'Wanted "package.module:name". Nothing was changed.\nFor example: seed = { call = "app.seed:run" }',
        ),
        (
            'migrate = { rows = "app:application" }',
            "migrate in ROOT/pyproject.toml cannot be {'rows': 'app:application'}.\n"
            "Wanted no rows here: they are a seed. Nothing was changed.\n"
            'For example: seed = { rows = "app:application" }',
        ),
        (
            'migrate = ["make"]\nseed = [{ rows = "a:b" }, { rows = "c:d" }]',
            "seed in ROOT/pyproject.toml cannot be [{'rows': 'a:b'}, {'rows': 'c:d'}].\nWanted one step of rows at",
        ),
        (
            'migrate = ["make"]\nseed = { rows = "a:b", timeout = 3 }',
            "seed in ROOT/pyproject.toml cannot be {'rows': 'a:b', 'timeout': 3}.\nWanted none of cwd, env, timeout",
        ),
        (
            'migrate = { command = ["make"], timeout = 0 }',
            "migrate, timeout in ROOT/pyproject.toml cannot be 0.\nWanted a number of seconds, more than 0.",
        ),
        (
            'migrate = { command = ["make"], cwd = 3 }',
            "migrate, cwd in ROOT/pyproject.toml cannot be 3.\nWanted a folder.",
        ),
        (
            'migrate = { command = ["make"], env = { A = "{database}" } }',
            "migrate, env, A in ROOT/pyproject.toml cannot be '{database}'.\n"
            "Wanted no other placeholders than {url} {host} {port} {user} {password} {dbname}, and {database} is none.",
        ),
        (
            'migrate = { command = ["make"], env = { A = 3 } }',
            "migrate, env, A in ROOT/pyproject.toml cannot be 3.\nWanted a text, in quotes.",
        ),
        (
            'migrate = ["make"]\nenv = { DBTOOLS_LEAD_URL = "x" }',
            "env, DBTOOLS_LEAD_URL in ROOT/pyproject.toml cannot be 'x'.\nWanted a variable of the project: dbtools",
        ),
        (
            'migrate = ["make"]\nenv = ["A=b"]',
            "env in ROOT/pyproject.toml cannot be ['A=b'].\nWanted a table of variables and their values.",
        ),
    ],
)
def test_a_wrong_step_is_refused(tmp_path: Path, text: str, message: str) -> None:
    assert refusal(tmp_path, text).startswith(f"[tool.dbtools] {message}")


def test_keys_of_the_first_edition_show_the_new_lines(tmp_path: Path) -> None:
    text = 'application = "shop.seed:application"\nmigrations = "db"'
    assert refusal(tmp_path, text) == (
        "[tool.dbtools] in ROOT/pyproject.toml has keys of the first edition: application, migrations.\n"
        "The table now names the steps that make the database's content, and Alembic's own settings say where its"
        " migrations are. Nothing was changed.\n"
        'Write instead: migrate = "alembic" (with [tool.alembic] script_location = "%(here)s/db");'
        ' seed = { rows = "shop.seed:application" }'
    )
    (tmp_path / "alembic.ini").touch()
    assert refusal(tmp_path, text).endswith(
        'Write instead: migrate = "alembic"; seed = { rows = "shop.seed:application" }'
    )
    assert "has a key of the first edition: application." in refusal(tmp_path, 'application = "a:b"')


def test_a_title_is_short_and_holds_no_password() -> None:
    here = Path("/project")
    step = Step("command", ("psql", "postgres://ann:quite-secret@db/shop", "-f", "x" * 80), here)
    assert step.title == f"psql postgres://ann:***@db/shop -f {'x' * 36}…"
    assert hash(step) == hash(Step("command", step.words, here))
