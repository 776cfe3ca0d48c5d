"""Finds a project's scenarios, and stores the races found in them.

For each race it keeps the scenario's file and the statements that ran: so a token alone can be replayed, and a replay
can name the first statement that differs.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dbtools.errors import NOT_RUN, ConfigurationError
from dbtools.races import token
from dbtools.races.scenario_file import read, variants

if TYPE_CHECKING:
    from collections.abc import Sequence

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
        f"In {project.races} there are: {known}.",
        "Name one of them, or a file: invoke race.explore my-race.toml",
        NOT_RUN,
    )


def find_by_token(project: Project, text: str, file: str, major: int) -> Scenario:
    """Return the scenario that a token was made in: from `file`, else from the project's folder, this one, or where it
    was found.

    Raises:
        ConfigurationError: It is no token, its scenario is not here, or has changed since.
    """
    wanted = token.decode(text)
    folders = (project.races, Path.cwd())
    kept = [Path(one) for one in [_kept(project, text).get("file")] if one]
    anywhere = [*kept, *(path for folder in folders for path in sorted(folder.glob("*.toml")))]
    scenario = _called(project, wanted.scenario, [Path(file)] if file else anywhere, strict=bool(file))
    if scenario is None:
        raise ConfigurationError(
            f"The scenario of the token {text} is not here.",
            f"None in {file or f'{project.races} and {Path.cwd()}'} has its name.",
            f"Name its file: invoke race.replay {text} --file my-race.toml",
            NOT_RUN,
        )
    if (now := scenario.fingerprint(major)) != wanted.state:
        raise ConfigurationError(
            f"The token {text} is of another version of the scenario {scenario.name}.",
            f"It was made when that was {wanted.state}; with PostgreSQL {major} it is {now}.",
            "Take the version it was made with, or find the race again:"
            f" invoke race.explore {_place(project, scenario)}",
            NOT_RUN,
        )
    if beyond := [actor for actor, _ in wanted.runs if token.index(actor) >= len(scenario.all_actors)]:
        raise ConfigurationError(
            f"The token {text} names an actor {beyond[0]}.",
            f"The scenario {scenario.name} has {len(scenario.all_actors)}.",
            "Copy the whole token again from where it was reported.",
            NOT_RUN,
        )
    return scenario


def _called(project: Project, short: str, paths: Sequence[Path], *, strict: bool) -> Scenario | None:
    """Return the scenario in these files whose name a token has shortened to this."""
    for path in paths:
        try:
            every = ["", *variants(path)]
        except (OSError, ValueError, TypeError):  # no TOML, or another kind of it
            if strict:
                read(path, "", project.root)  # says what is wrong with it
            continue
        for variant in every:
            if token.shorten(".".join(filter(None, (path.stem, variant)))) == short:
                return read(path, variant, project.root)
    return None


def _place(project: Project, scenario: Scenario) -> str:
    """Return what race.explore takes for the scenario."""
    if scenario.file is None or scenario.file.parent == project.races.resolve():
        return scenario.name
    variant = scenario.name[len(scenario.file.stem) + 1 :]
    return f"{scenario.file}{f' --variant {variant}' if variant else ''}"


def save(project: Project, scenario: Scenario, text: str, trace: Trace) -> None:
    """Keep where a token's scenario is, and the statements of its run, in the project's cache."""
    path = _path(project, text)
    path.parent.mkdir(parents=True, exist_ok=True)
    file = str(scenario.file) if scenario.file else None
    path.write_text(json.dumps({"file": file, "statements": trace.statements}), "utf-8")


def difference(project: Project, text: str, trace: Trace) -> str:
    """Return how the statements of a run differ from those that its token was made from; "" where they do not.

    Where that run was kept, the first statement that differs is named. Anywhere else the token knows no more than
    whether they are the same, and not even that where the programs sent others in each run.
    """
    wanted = token.decode(text).statements
    if not wanted or wanted == trace.fingerprint:
        return ""
    kept, came = _kept(project, text).get("statements", []), trace.statements
    for number, (before, now) in enumerate(zip(kept, came, strict=False), 1):
        if before != now:
            return f"step {number}: expected {_said(before)}; got {_said(now)}"
    if len(came) < len(kept):
        return f"step {len(came) + 1}: expected {_said(kept[len(came)])}; got nothing"
    if kept and len(came) > len(kept):
        return f"step {len(kept) + 1}: expected nothing; got {_said(came[len(kept)])}"
    return "the programs sent other statements; which, is known only where the race was found"


def _kept(project: Project, text: str) -> dict[str, Any]:
    try:
        found = json.loads(_path(project, text).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _path(project: Project, text: str) -> Path:
    return project.cache / "races" / f"{text.strip()}.json"


def _said(step: list[str]) -> str:
    actor, sql = step
    line = " ".join(sql.split())
    return f"{actor}: {line if len(line) <= 100 else f'{line[:97]}...'}"
