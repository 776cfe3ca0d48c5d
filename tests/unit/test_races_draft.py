"""First scenario files: what they hold, that they are valid as they are, and the errors where there can be none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dbtools.config import Project
from dbtools.errors import ConfigurationError
from dbtools.races import draft, steps
from dbtools.races.draft import Draft
from dbtools.races.scenario import SCHEMA, Scenario
from dbtools.races.scenario_file import read

MIGRATE, SEED = '["true", "migrate"]', '["true", "seed"]'


def project(root: Path, migrate: str = MIGRATE, seed: str = SEED) -> Project:
    (root / "pyproject.toml").write_text(f"[tool.dbtools]\nmigrate = {migrate}\nseed = {seed}\n", "utf-8")
    return Project.find(root)


def scenario(root: Path, drafted: Draft) -> Scenario:
    """Return the scenario as the written file has it."""
    path = root / f"{drafted.name}.toml"
    draft.write({path: drafted.text("dbtools")})
    return read(path, "", root)


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(ConfigurationError) as caught:
        call()
    return str(caught.value)


def test_two_commands_without_a_project(tmp_path: Path) -> None:
    drafted = draft.from_commands(None, ['sh "x y" true', "env"], tmp_path)
    assert drafted.text("dbtools") == (
        "# To run it: dbtools race.explore true-vs-env\n"
        "# All keys: docs/race-lab.md of dbtools.\n"
        'title = "sh \\"x y\\" true and env, at once"\n'
        '# expect = "23505 jobs_pkey"          # the failure that has to be found; without it nothing may fail\n'
        '# allow = ["exit 1"]                  # failures by design, which are no race\n'
        "\n"
        "[start]\n"
        '# file = "schema.sql"\n'
        "\n"
        "[actors.true]\n"
        'command = ["sh", "x y", "true"]\n'
        "\n"
        "[actors.env]\n"
        'command = ["env"]\n'
        "\n"
        "# [invariants]                        # queries that return no row, whatever the order\n"
        '# "one owner" = "select 1 from jobs group by id having count(owner) > 1"\n'
    )
    found = scenario(tmp_path, drafted)
    commands = {actor.name: actor.command for actor in found.actors}
    assert commands == {"true": ("sh", "x y", "true"), "env": ("env",)}
    assert (found.start, found.snapshot, found.title) == ([], False, 'sh "x y" true and env, at once')


@pytest.mark.parametrize(
    ("command", "name", "words"),
    [
        ("env npm run seed", "seed", ("env", "npm", "run", "seed")),
        ("env tools/load.py 'two words' --now", "load", ("env", "tools/load.py", "two words", "--now")),
        ("env -- ä", "env", ("env", "--", "ä")),
        ("A=1 env | cat", "program", ("sh", "-c", "A=1 env | cat")),
        ("bin/seed.sh && true", "seed", ("sh", "-c", "bin/seed.sh && true")),
        ('env "\x7f\t\\""', "env", ("env", '\x7f\t"')),
    ],
)
def test_a_command_is_read_as_a_shell_would(tmp_path: Path, command: str, name: str, words: tuple[str, ...]) -> None:
    found = scenario(tmp_path, draft.from_commands(None, [command, "true"], tmp_path))
    assert (found.name, found.actors[0].name, found.actors[0].command) == (f"{name}-vs-true", name, words)


@pytest.mark.parametrize(
    ("commands", "snapshot", "calls"),
    [
        (["true seed", "true seed"], SCHEMA, [steps.seed, steps.seed]),
        (["true other", "true seed"], SCHEMA, [None, steps.seed]),
        (["true migrate", "true seed"], False, [steps.migrate, steps.seed]),
        (["true other", "true more"], True, [None, None]),
    ],
)
def test_where_commands_of_a_project_start(
    tmp_path: Path, commands: list[str], snapshot: bool | str, calls: list[object]
) -> None:
    found = scenario(tmp_path, draft.from_commands(project(tmp_path), commands, tmp_path))
    assert (found.snapshot, [actor.call for actor in found.actors]) == (snapshot, calls)


def test_a_command_that_is_one_of_several_steps_is_run_as_typed(tmp_path: Path) -> None:
    several = project(tmp_path, "[]", f'[{SEED}, {{ sql = "more.sql" }}]')
    found = scenario(tmp_path, draft.from_commands(several, ["true seed", "true seed"], tmp_path))
    assert (found.snapshot, [actor.command for actor in found.actors]) == (False, [("true", "seed")] * 2)


def test_the_steps_of_a_project(tmp_path: Path) -> None:
    drafts = draft.from_steps(project(tmp_path))
    seeds, reset = (scenario(tmp_path, each) for each in drafts)
    assert (seeds.name, seeds.snapshot) == ("seed-vs-seed", SCHEMA)
    assert [(actor.name, actor.call) for actor in seeds.actors] == [("first", steps.seed), ("second", steps.seed)]
    assert (reset.name, reset.snapshot) == ("reset-vs-seed", True)
    assert [(actor.name, actor.call) for actor in reset.actors] == [("reset", steps.reset), ("seed", steps.seed)]
    (only,) = draft.from_steps(project(tmp_path, seed="[]"))
    assert (only.name, only.start) == ("migrate-vs-migrate", "from an empty database")
    (only,) = draft.from_steps(project(tmp_path, seed='{ rows = "a.b:c" }'))
    assert only.name == "migrate-vs-migrate"
    (only,) = draft.from_steps(project(tmp_path, migrate="[]"))
    assert (only.name, only.start) == ("seed-vs-seed", "from an empty database")
    rows = project(tmp_path, migrate="[]", seed='{ rows = "a.b:c" }')
    assert refusal(lambda: draft.from_steps(rows)) == (
        "The project has no steps that could race.\n"
        "Generated rows are written by dbtools itself, under its lock. Nothing was changed.\n"
        'Name two programs: invoke race.init -- "npm run seed" "npm run seed"'
    )


def test_what_are_no_two_commands(tmp_path: Path) -> None:
    assert refusal(lambda: draft.from_commands(None, ["npm", "run", "seed"], tmp_path)) == (
        "race.init takes two commands, each in quotes, and was given 3.\n"
        "They are: 'npm', 'run', 'seed'. Nothing was changed.\n"
        'For example: invoke race.init -- "npm run seed" "npm run seed"'
    )
    for command in ("nosuchprogram -x", ""):
        name = command.partition(" ")[0]
        assert refusal(lambda: draft.from_commands(None, ["true", command], tmp_path)) == (  # noqa: B023 - called here
            f"There is no program {name!r}.\n"
            f"Neither PATH nor {tmp_path} has one that can be run. Nothing was changed.\n"
            'Put each command in quotes: invoke race.init -- "npm run seed" "npm run seed"'
        )
    assert refusal(lambda: draft.from_commands(None, ["true", "true 'x"], tmp_path)) == (
        'The command "true \'x" cannot be read.\nNo closing quotation. Nothing was changed.\nClose the quotation mark.'
    )


def test_a_name_of_its_own(tmp_path: Path) -> None:
    drafts = draft.from_steps(project(tmp_path))
    assert [each.name for each in draft.rename(drafts[:1], "two-workers")] == ["two-workers"]
    assert refusal(lambda: draft.rename(drafts, "x")) == (
        "--name x cannot name 2 scenarios.\n"
        "The project's steps make seed-vs-seed and reset-vs-seed. Nothing was changed.\n"
        "Leave out --name, or name two commands behind --."
    )
    assert refusal(lambda: draft.rename(drafts[:1], "a.b")) == (
        "--name cannot be 'a.b'.\n"
        "A name consists of letters, digits, - and _, and begins and ends with a letter or a digit."
        " Nothing was changed.\n"
        "For example: --name two-workers"
    )


def test_all_files_are_written_or_none(tmp_path: Path) -> None:
    one, two = tmp_path / "races" / "one.toml", tmp_path / "races" / "two.toml"
    (tmp_path / "races").write_text("in the way", "utf-8")
    assert refusal(lambda: draft.write({one: "1", two: "2"})) == (
        f"one.toml and two.toml cannot be written to {tmp_path}/races.\n"
        f"File exists: {tmp_path}/races. Nothing was changed.\n"
        "Make that writable, or take the lines from --dry-run."
    )
    (tmp_path / "races").unlink()
    two.parent.mkdir()
    two.symlink_to("nowhere")
    assert refusal(lambda: draft.write({one: "1", two: "2"})) == (
        f"{two} exists already.\n"
        "race.init changes no file. Nothing was changed.\n"
        "Run it: invoke race.explore two; or name two commands, and another file: --name NAME"
    )
    assert [path.name for path in two.parent.iterdir()] == ["two.toml"]
