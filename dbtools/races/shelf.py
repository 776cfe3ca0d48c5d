"""Where a project's scenarios are, and what is kept of the races found in them: the statements, so that a replay can
say which one came in the place of which.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from dbtools.errors import ConfigurationError
from dbtools.races import token
from dbtools.races.scenario_file import read, variants

if TYPE_CHECKING:
    from dbtools.config import Project
    from dbtools.races.scenario import Scenario
    from dbtools.races.trace import Trace


def names(project: Project) -> list[tuple[str, str, str]]:
    """Return name, title and what is expected of every scenario of the project and of its variants."""
    found = []
    for path in sorted(project.races.glob("*.toml")):
        for variant in ["", *variants(path)]:
            one = read(path, variant, project.root)
            found.append((one.name, one.title, one.expect or "held"))
    return found


def find(project: Project, name: str, variant: str = "") -> Scenario:
    """Return a scenario by its name (`reset-vs-seed`, `reset-vs-seed.unlocked`) or by its file (`my-race.toml`).

    Raises:
        ConfigurationError: There is none, or its file is wrong.
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
        f"In {project.races} there are: {known}. Nothing was run.",
        "Name one of them, or a file: invoke race.explore my-race.toml",
    )


def of_token(project: Project, text: str, file: str, major: int) -> Scenario:
    """Return the scenario that a token was made in: from `file`, else from the project's folder or this one.

    Raises:
        ConfigurationError: It is no token, its scenario is not here, or has changed since.
    """
    wanted = token.decode(text)
    scenario = _called(project, wanted.scenario, file)
    if scenario is None:
        raise ConfigurationError(
            f"The scenario of the token {text} is not here.",
            f"None in {file or f'{project.races} and {Path.cwd()}'} has its name. Nothing was run.",
            f"Name its file: invoke race.replay {text} --file my-race.toml",
        )
    if (now := scenario.fingerprint(major)) != wanted.state:
        raise ConfigurationError(
            f"The token {text} is of another version of the scenario {scenario.name}.",
            f"It was made when that was {wanted.state}; with PostgreSQL {major} it is {now}. Nothing was run.",
            f"Take the version it was made with, or find the race again: invoke race.explore {scenario.name}",
        )
    if beyond := [actor for actor, _ in wanted.runs if ord(actor) - 65 >= len(scenario.everybody)]:
        raise ConfigurationError(
            f"The token {text} names an actor {beyond[0]}.",
            f"The scenario {scenario.name} has {len(scenario.everybody)}. Nothing was run.",
            "Copy the whole token again from where it was reported.",
        )
    return scenario


def _called(project: Project, short: str, file: str) -> Scenario | None:
    """Return the scenario whose name a token has shortened to this."""
    folders = (project.races, Path.cwd())
    for path in [Path(file)] if file else [path for folder in folders for path in sorted(folder.glob("*.toml"))]:
        try:
            every = ["", *variants(path)]
        except (OSError, ValueError, TypeError):  # no TOML, or another kind of it
            if file:
                read(path, "", project.root)  # says what is wrong with it
            continue
        for variant in every:
            if token.shorten(".".join(filter(None, (path.stem, variant)))) == short:
                return read(path, variant, project.root)
    return None


def keep(project: Project, text: str, trace: Trace) -> None:
    """Keep the statements of a token's run in the project's cache."""
    path = _path(project, text)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(trace.statements), "utf-8")


def difference(project: Project, text: str, trace: Trace) -> str:
    """Return how the statements of a run differ from those that its token was made from; "" where they do not.

    Where that run was kept, the first statement that differs is named. Anywhere else the token knows no more than
    whether they are the same, and not even that where the programs sent others in each run.
    """
    wanted = token.decode(text).statements
    if not wanted or wanted == trace.fingerprint:
        return ""
    try:
        kept = json.loads(_path(project, text).read_text("utf-8"))
    except (OSError, ValueError):
        kept = []
    came = trace.statements
    for number, (before, now) in enumerate(zip(kept, came, strict=False), 1):
        if before != now:
            return f"step {number}: expected {_said(before)}; came {_said(now)}"
    if len(came) < len(kept):
        return f"step {len(came) + 1}: expected {_said(kept[len(came)])}; came nothing"
    if kept and len(came) > len(kept):
        return f"step {len(kept) + 1}: expected nothing; came {_said(came[len(kept)])}"
    return "the programs sent other statements; which, is known only where the race was found"


def _path(project: Project, text: str) -> Path:
    return project.cache / "races" / f"{text.strip()}.json"


def _said(step: list[str]) -> str:
    actor, sql = step
    line = " ".join(sql.split())
    return f"{actor}: {line if len(line) <= 100 else f'{line[:97]}...'}"
