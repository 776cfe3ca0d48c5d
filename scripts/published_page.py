"""The page of the published races: made from the projects in scripts/published and from what was found in them."""

from __future__ import annotations

import json
import re
import textwrap
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SHELF = ROOT / "scripts" / "published"
FACTS = SHELF / "facts.json"
PAGE = ROOT / "docs" / "published-races.md"
MARK = "<!-- What follows is written by nox -s races. -->"
"""What is above this line of the page is written by hand."""
WIDTH = 120
_THREAD = re.compile(r"([\w.-]+/[\w.-]+)#(\d+)")

Facts = dict[str, Any]
"""What was found in a project, as examine() of published_races.py has it."""


def projects() -> list[str]:
    """Return the names of the projects, which are those of their packages."""
    return sorted(path.parent.name for path in SHELF.glob("*/*.toml") if path.stem == path.parent.name)


def version(name: str) -> str:
    """Return the version of its package that a project pins."""
    if (lock := SHELF / name / "package-lock.json").is_file():
        return str(json.loads(lock.read_text("utf-8"))["packages"][f"node_modules/{name}"]["version"])
    pins = (SHELF / name / "requirements.txt").read_text("utf-8")
    found = re.search(rf"^{name}==(\S+)", pins, re.MULTILINE)
    assert found, f"{name} is not pinned in its requirements.txt"
    return found[1]


def load() -> dict[str, Facts]:
    """Return what was found, by project."""
    found: dict[str, Facts] = json.loads(FACTS.read_text("utf-8")) if FACTS.is_file() else {}
    return found


def picture(name: str) -> Path:
    """Return the file of the picture of a project's race."""
    return ROOT / "docs" / f"published-{name}.svg"


def write() -> None:
    """Write the page anew below the mark."""
    PAGE.write_text(rendered(PAGE.read_text("utf-8")), "utf-8")


def rendered(page: str) -> str:
    """Return the page with all below the mark made anew."""
    facts = load()
    head = ("package", "failure", "schedules until then", "replays equal", "under dbtools' lock")
    lines = [page.partition(MARK)[0] + MARK, "", f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    for name, found in facts.items():
        cells = (f"[{name} {found['version']}](#{_anchor(name, found)})", f"`{found['failure']}`", found["schedules"])
        lines.append(f"| {' | '.join(map(str, (*cells, found['replays'], found['locked']['verdict'])))} |")
    for name, found in facts.items():
        lines += ["", *_section(name, found)]
    return "\n".join(lines) + "\n"


def _section(name: str, found: Facts) -> list[str]:
    scenario = tomllib.loads((SHELF / name / f"{name}.toml").read_text("utf-8"))
    title, cure, token = scenario["title"], found["locked"], found["token"]
    result = (
        f"The scenario `scripts/published/{name}/{name}.toml` fails with `{found['failure']}`, with"
        f" {_counted(found['switches'], 'switch')}, found after {_counted(found['schedules'], 'schedule')};"
        f" {found['replays']} replays of the token went step for step the same way. Under the lock, all"
        f" {_counted(cure['schedules'], 'schedule')} with up to 2 switches hold; in {cure['waits']} of them one waits."
    )
    if refusing := found.get("refusing"):
        refused, tried = refusing["refused"], _counted(refusing["schedules"], "schedule")
        result += f" One refuses in {refused} of the {tried} of `refusing` (up to 1 switch); none fails otherwise."
    return [
        f"## {name} {found['version']}",
        "",
        f"{title}.",
        "",
        _wrapped(_THREAD.sub(r"[\1#\2](https://github.com/\1/issues/\2)", scenario["about"].strip())),
        "",
        _wrapped(result),
        "",
        f"    invoke race.replay {token}",
        "",
        f"![Swimlanes of two programs of {name}, and where the run fails]({picture(name).name})",
    ]


def _anchor(name: str, found: Facts) -> str:
    return re.sub(r"[^\w -]", "", f"{name} {found['version']}".lower()).replace(" ", "-")


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 'es' if what.endswith('ch') else 's'}"


def _wrapped(text: str) -> str:
    return textwrap.fill(text, WIDTH, break_long_words=False, break_on_hyphens=False)
