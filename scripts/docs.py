"""Gather the pages of the site in build/docs: README, docs/, the examples, and a reference made from the tasks.

    nox -s docs    builds the site from them, in build/site; a link that leads nowhere is an error

The pages are read where they lie on GitHub and the like, too; so their links are relative to the checkout, and are
rewritten here.
"""

from __future__ import annotations

import inspect
import os
import re
import shutil
import sys
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from dbtools.commands import namespace  # noqa: E402 - found through the line above

if TYPE_CHECKING:
    from collections.abc import Iterator

    from invoke.collection import Collection
    from invoke.parser.argument import Argument

PAGES = ROOT / "build" / "docs"
LINK = re.compile(r"(\]\()([^)#\s]+)")
BAR = "&#124;"
CODE = re.compile(r"^```.*?^```|`[^`\n]+`", re.MULTILINE | re.DOTALL)


def main() -> None:
    """Write all pages anew."""
    shutil.rmtree(PAGES, ignore_errors=True)
    places = dict(find())
    for source, target in places.items():
        path = PAGES / target
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".md":
            path.write_text(relink((ROOT / source).read_text("utf-8"), source, places), "utf-8")
        else:
            shutil.copy2(ROOT / source, path)
    (PAGES / "tasks.md").write_text("\n".join(reference(namespace)), "utf-8")
    print(f"{len(places) + 1} files in {PAGES}")


def find() -> Iterator[tuple[PurePosixPath, PurePosixPath]]:
    """Yield each file of the site, relative to the checkout, and its place there."""
    yield PurePosixPath("README.md"), PurePosixPath("index.md")
    for name in ("CHANGELOG.md", "CONTRIBUTING.md"):
        yield PurePosixPath(name), PurePosixPath(name.lower())
    for path in sorted((ROOT / "docs").iterdir()):
        if path.suffix != ".yml":
            yield PurePosixPath("docs", path.name), PurePosixPath(path.name)
    for path in sorted((ROOT / "examples").glob("*/README.md")):
        yield PurePosixPath("examples", path.parent.name, "README.md"), PurePosixPath(f"examples/{path.parent.name}.md")


def relink(text: str, source: PurePosixPath, places: dict[PurePosixPath, PurePosixPath]) -> str:
    """Return the page with links that lead to the places of the site. A link to what is not there stays as it is."""

    def place(link: re.Match[str]) -> str:
        target = PurePosixPath(os.path.normpath(source.parent / link[2]))
        if target not in places:
            return link[0]
        return link[1] + os.path.relpath(places[target], places[source].parent)

    parts, end = [], 0
    for code in CODE.finditer(text):
        parts += [LINK.sub(place, text[end : code.start()]), code[0]]
        end = code.end()
    return "".join([*parts, LINK.sub(place, text[end:])])


def reference(tasks: Collection) -> Iterator[str]:
    """Yield the lines of a page that explains every task and every option, in the words of `--help`."""
    yield "# Tasks\n\nWhat `--help` says of each task. `invoke reset` and `dbtools reset` are the same."
    for name, others in tasks.task_names.items():
        task = tasks[name]
        given = task.get_arguments()
        typed = [others[0] if others else name, *(word.names[0].upper() for word in given if word.positional)]
        yield f"\n## {' or '.join([name, *others])}\n\n{inspect.getdoc(task)}\n"
        yield f"    invoke {' '.join(typed)}\n" if typed[1:] else ""
        yield from ("| option | what it does |", "| --- | --- |")
        for argument in given:
            if not argument.positional:
                yield f"| {spelt(argument)} | {(argument.help or '').replace('|', BAR)} |"


def spelt(option: Argument) -> str:
    """Return an option as it is typed."""
    value = "" if option.kind is bool else f" {option.names[0].upper()}"
    return ", ".join(f"`{'-' if len(name) == 1 else '--'}{name}{value}`" for name in option.names)


if __name__ == "__main__":
    main()
