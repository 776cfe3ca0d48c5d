"""Finds a project's scenarios, and stores the races found in them.

It stores the path of the scenario and the statements that ran. So a token alone can be replayed, and a replay can name
the first statement that differs.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dbtools.errors import NOT_RUN, ConfigurationError, DbtoolsError
from dbtools.races import token
from dbtools.races.overlap import latched
from dbtools.races.scenario_file import read, variants

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dbtools.config import Project
    from dbtools.races.run import RunResult
    from dbtools.races.scenario import Scenario
    from dbtools.races.trace import Trace


def names(project: Project) -> list[tuple[str, str, str]]:
    """Return the name, the title and the expected result of every scenario of the project, and of its variants.

    Raises:
        ConfigurationError: A file is wrong.
    """
    found = []
    for path in sorted(project.races.glob("*.toml")):
        for variant in ["", *variants(path)]:
            scenario = read(path, variant, project.root)
            found.append((scenario.name, scenario.title, scenario.expect or "held"))
    return found


def find(project: Project, name: str, variant: str = "") -> Scenario:
    """Return a scenario by its name (`reset-vs-seed`, `reset-vs-seed.unlocked`) or by its file (`my-race.toml`).

    Raises:
        ConfigurationError: There is no such scenario, or its file is wrong.
    """
    if name.endswith(".toml"):
        return read(Path(name), variant, project.root)
    stem, _, after = name.partition(".")
    for folder in (project.races, Path.cwd()):
        if (path := folder / f"{stem}.toml").is_file():
            return read(path, variant or after, project.root)
    known = ", ".join(path.stem for path in sorted(project.races.glob("*.toml"))) or "none"
    raise ConfigurationError(
        f"There is no scenario {name!r}.",
        f"The scenarios in {project.races} are: {known}.",
        "Name one of these, or a file: invoke race.explore my-race.toml",
        NOT_RUN,
    )


def find_by_token(project: Project, text: str, file: str, major: int) -> Scenario:
    """Return the scenario that a token belongs to.

    Looks in `file` if one is named; else where the race was found, in the project's folder of races, and in the working
    directory.

    Raises:
        ConfigurationError: `text` is not a token, its scenario was not found, or has changed since.
    """
    wanted = token.decode(text)
    folders = (project.races, Path.cwd())
    stored = _stored(project, text).get("file")
    anywhere = [
        *([Path(stored)] if stored else []),
        *(path for folder in folders for path in sorted(folder.glob("*.toml"))),
    ]
    scenario = _find_by_name(project, wanted.scenario, [Path(file)] if file else anywhere, strict=bool(file))
    if scenario is None:
        raise ConfigurationError(
            f"The scenario of the token {text} was not found.",
            f"No scenario in {file or f'{project.races} and {Path.cwd()}'} has its name.",
            f"Name its file: invoke race.replay {text} --file my-race.toml",
            NOT_RUN,
        )
    return fitting(scenario, text, major, f"invoke race.explore {_argument(project, scenario)}")


def fitting(scenario: Scenario, text: str, major: int, again: str) -> Scenario:
    """Return the scenario, with the latch of the lab's own that the token was found with, if it was found with one.

    `again` is what finds the race again.

    Raises:
        ConfigurationError: `text` is not a token, or the scenario has changed since.
    """
    wanted = token.decode(text)
    now = scenario.fingerprint(major)
    scenario = next((one for one in latched(scenario) if one.fingerprint(major) == wanted.state), scenario)
    if scenario.fingerprint(major) != wanted.state:
        raise ConfigurationError(
            f"The token {text} belongs to another version of the scenario {scenario.name}.",
            f"That version was {wanted.state}; this one, with PostgreSQL {major}, is {now}.",
            f"Go back to that version, or find the race again: {again}",
            NOT_RUN,
        )
    if beyond := [actor for actor, _ in wanted.runs if token.index(actor) >= len(scenario.all_actors)]:
        raise ConfigurationError(
            f"The token {text} names an actor {beyond[0]}.",
            f"The scenario {scenario.name} has {len(scenario.all_actors)} actors.",
            "Copy the whole token again from where it was reported.",
            NOT_RUN,
        )
    return scenario


def _find_by_name(project: Project, short: str, paths: Sequence[Path], *, strict: bool) -> Scenario | None:
    """Return the scenario in these files whose name a token shortens to `short`; `strict` files must be readable."""
    for path in paths:
        try:
            every = ["", *variants(path)]
        except (OSError, ValueError, TypeError):  # it is not TOML, or not a scenario
            if strict:
                read(path, "", project.root)  # raises an error that says what is wrong
            continue
        for variant in every:
            if token.shorten(".".join(filter(None, (path.stem, variant)))) == short:
                return read(path, variant, project.root)
    return None


def _argument(project: Project, scenario: Scenario) -> str:
    """Return the argument that makes race.explore run the scenario."""
    if scenario.file is None or scenario.file.parent == project.races.resolve():
        return scenario.name
    variant = scenario.name[len(scenario.file.stem) + 1 :]
    return f"{scenario.file}{f' --variant {variant}' if variant else ''}"


def save(project: Project, scenario: Scenario, text: str, trace: Trace) -> None:
    """Store the path of a token's scenario, and the statements of its run, in the project's cache."""
    path = _path(project, text)
    path.parent.mkdir(parents=True, exist_ok=True)
    file = str(scenario.file) if scenario.file else None
    path.write_text(json.dumps({"file": file, "statements": trace.statements}), "utf-8")


def require_same(project: Project, text: str, run: RunResult, again: str = "invoke race.explore") -> None:
    """Return if a token's replay went as the run that the token was made from; `again` is what finds the race again.

    Raises:
        DbtoolsError: It did not.
    """
    if why := run.diverged or difference(project, text, run.trace) or run.trace.stalled:
        raise DbtoolsError(
            f"The replay of {text} differs from the run that the token was made from.",
            f"{why[:1].upper()}{why[1:]}.",
            f"The programs have changed, or do something at random. Find the race again: {again}",
        )


def difference(project: Project, text: str, trace: Trace) -> str:
    """Return how the statements of a run differ from those of the run that its token was made from, or "".

    The first statement that differs is named, if that run is stored here. The token itself only tells whether they are
    the same, and not even that if the programs sent other statements in each run.
    """
    wanted = token.decode(text).statements
    if not wanted or wanted == trace.fingerprint:
        return ""
    stored, sent = _stored(project, text).get("statements", []), trace.statements
    for number, (before, now) in enumerate(zip(stored, sent, strict=False), 1):
        if before != now:
            return f"step {number}: expected {_shown(before)}; got {_shown(now)}"
    if len(sent) < len(stored):
        return f"step {len(sent) + 1}: expected {_shown(stored[len(sent)])}; got nothing"
    if stored and len(sent) > len(stored):
        return f"step {len(stored) + 1}: expected nothing; got {_shown(sent[len(stored)])}"
    return "the programs sent other statements; only the project that found the race can say which"


def _stored(project: Project, text: str) -> dict[str, Any]:
    try:
        found = json.loads(_path(project, text).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _path(project: Project, text: str) -> Path:
    return project.cache / "races" / f"{text.strip()}.json"


def _shown(step: list[str]) -> str:
    actor, sql = step
    line = " ".join(sql.split())
    return f"{actor}: {line if len(line) <= 100 else f'{line[:97]}...'}"
