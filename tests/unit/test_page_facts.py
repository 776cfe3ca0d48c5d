"""What the pages say is so: links lead somewhere, and tables, options and names are those of the code."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from dbtools import config, errors
from dbtools.chain import markers
from dbtools.commands import namespace
from dbtools.commands.interrupts import SIGNALS
from dbtools.config.entry import Entry
from dbtools.config.table import READERS, STEPS

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "examples").glob("*/README.md")),
]
FOLDERS = ("dbtools", "groombook", "migrations", "tests", "scripts", "examples", ".ci")


def of_page(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


EXAMPLES = {"my-race.toml", "worker.py", "reset-vs-seed.toml", "conftest.py"}
"""Files that pages write, or tell a project to write."""
OTHER_OPTIONS = {
    "--published",
    "--plot",
    "--write-page",
    "--check",
    "--list",
    "--help",
    "--full",
    "--shipped",
    "--server",
    "--sql",
    "--upgrade",
    "--app",
    "--noinput",
    "--pg-server",
    "--keep-databases",
    "--race-token",
    "--schema-only",
    "--dry",
    "--print-completion-script",
    "--python",
    "--with",
}
"""Options of Invoke, uv, nox, Alembic, Flask, Django and our scripts."""
OTHER_OPTIONS |= {"--build-arg", "--cap-drop", "--for", "--read-only", "--rm", "--tmpfs"}
"""Options of Docker."""
WIDEST = 120


def text(page: Path) -> str:
    return page.read_text("utf-8")


def prose(page: Path) -> str:
    """The page without its blocks of code."""
    return re.sub(r"^```.*?^```", "", text(page), flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def rows(page: Path, heading: str) -> list[list[str]]:
    """The cells of every table whose first heading is this."""
    tables = re.findall(rf"^\| {re.escape(heading)} \|.*\n\|[ -|]*\n((?:\|.*\n)+)", text(page), re.MULTILINE)
    assert tables, f"{page.name} has no table of {heading}"
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for table in tables for row in table.splitlines()]


def quoted(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def source(name: str) -> str:
    """The code of a module of dbtools, or of all modules of a package; "" where it is neither."""
    path = ROOT / "dbtools" / name
    modules = [path if name.endswith(".py") else path.with_suffix(".py"), *path.rglob("*.py")]
    return "".join(text(module) for module in modules if module.is_file())


@pytest.mark.parametrize("page", PAGES, ids=of_page)
def test_links_lead_to_pages_and_headings(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        path, _, anchor = link.partition("#")
        if path.startswith("https://"):
            continue
        target = (page.parent / path).resolve() if path else page
        assert target.is_file(), link
        assert not anchor or anchor in anchors(target), link


def test_the_readme_leads_to_every_page() -> None:
    assert {f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")} <= set(
        re.findall(r"\]\(([^)#]+)\)", text(PAGES[0]))
    )


@pytest.mark.parametrize("page", PAGES, ids=of_page)
def test_lines_are_not_too_wide(page: Path) -> None:
    assert [line for line in text(page).splitlines() if len(line) > WIDEST and not line.lstrip().startswith("|")] == []


@pytest.mark.parametrize("page", PAGES, ids=of_page)
def test_files_that_are_named_are_there(page: Path) -> None:
    files = {path.relative_to(ROOT).as_posix() for folder in FOLDERS for path in (ROOT / folder).rglob("*.*")}
    files |= {path.name for path in ROOT.iterdir()}
    for name in re.findall(r"`([\w./-]+\.(?:py|toml|css|txt))`", prose(page)):
        assert name in EXAMPLES or any(f"/{file}".endswith(f"/{name}") for file in files), name


@pytest.mark.parametrize("page", PAGES, ids=of_page)
def test_options_that_are_named_are_there(page: Path) -> None:
    options = {
        f"--{argument.name.rstrip('_').replace('_', '-')}"
        for name in namespace.task_names
        for argument in namespace[name].get_arguments()
    }
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text(page))) <= options | OTHER_OPTIONS


def test_the_tasks_are_the_commands() -> None:
    named = [name for row in rows(PAGES[0], "task") for name in quoted(row[0])]
    assert sorted(named) == sorted(namespace.task_names)


def test_the_exit_codes_are_those_of_the_errors() -> None:
    family = [
        kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.DbtoolsError)
    ]
    codes = {int(row[0]) for row in rows(ROOT / "docs" / "configuration.md", "exit code")}
    assert codes == {0, *(128 + number for number in SIGNALS)} | {kind.exit_code for kind in family}


def test_the_keys_are_those_of_the_project() -> None:
    documented = {quoted(row[0])[0]: row[2].strip("`") for row in rows(ROOT / "docs" / "configuration.md", "key")}
    assert documented.keys() == {*STEPS, *READERS}
    defaults = {field.name: field.default for field in fields(config.Project)}
    for key, (name, _) in READERS.items():
        if isinstance(default := defaults[name], (str, int, float, tuple)) and key != "snapshot-cache":
            assert documented[key] == str([*default] if default == () else default)
    assert (
        READERS["snapshot-cache"][1](Entry(ROOT, "snapshot-cache", documented["snapshot-cache"]))
        == (defaults["snapshot_cache_bytes"])
    )


@pytest.mark.parametrize("page", PAGES, ids=of_page)
def test_tables_that_are_shown_are_read(page: Path, tmp_path: Path) -> None:
    (tmp_path / "backend").mkdir()
    for folder in (tmp_path, tmp_path / "backend"):
        (folder / "alembic.ini").touch()
    for block in re.findall(r"^```toml\n(.*?)^```", text(page), re.MULTILINE | re.DOTALL):
        if "[tool.dbtools" in block:
            (tmp_path / "pyproject.toml").write_text(block, "utf-8")
            config.Project.find(tmp_path)


def test_the_variables_are_those_that_are_read() -> None:
    sources = "".join(text(path) for folder in ("dbtools", "groombook") for path in (ROOT / folder).rglob("*.py"))
    read = re.findall(r'"((?:SEED|DBTOOLS)_[A-Z_]+|DATABASE_URL|ALLOW_RESET|NODE_ENV|APP_ENV|ENVIRONMENT)"', sources)
    between_us_and_our_children = {"DBTOOLS_RECORD", "DBTOOLS_STEP"}
    documented = [name for row in rows(ROOT / "docs" / "configuration.md", "variable") for name in quoted(row[0])]
    assert sorted(documented) == sorted(
        name for name in {*read} - between_us_and_our_children if not name.startswith("DBTOOLS_LEAD_")
    )


def test_the_words_of_the_guard_are_those_that_it_reads() -> None:
    listed = {row[0]: (*quoted(row[1]),) for row in rows(ROOT / "docs" / "guard.md", "what")}
    assert listed == {
        "variables": markers.VARIABLES,
        "and all that end in": markers.SUFFIXES,
        "but not": markers.EXCEPTIONS,
        "production": markers.PRODUCTION,
        "staging": markers.STAGING,
        "leave it alone (in a comment)": markers.PROTECTED,
    }


def test_the_sessions_that_are_named_are_those_of_nox() -> None:
    listed = subprocess.run(
        [sys.executable, "-m", "nox", "--list"], cwd=ROOT, text=True, capture_output=True, check=True
    ).stdout
    sessions = set(re.findall(r"^[*-] (\w+)", listed, re.MULTILINE))
    assert {name for page in PAGES for name in re.findall(r"nox -s (\w+)", text(page))} <= sessions


def test_ci_runs_what_the_pages_say() -> None:
    lines = text(ROOT / ".ci" / "run").splitlines()
    assert lines[-1] == "scripts/dev nox"
    everything = "".join(map(text, PAGES))
    for line in lines:
        if line.startswith(("scripts/", "export")):
            assert line.removeprefix("export ") in everything


def test_the_picture_of_the_rooms_has_all_of_them() -> None:
    page = text(ROOT / "docs" / "architecture.md")
    picture = page[page.index("```text") : page.index("## What each room holds")]
    for path in (ROOT / "dbtools").iterdir():
        if (path.suffix == ".py" and path.stem != "__init__") or (path / "__init__.py").is_file():
            assert re.search(rf"\b{path.stem}\b", picture), path.stem


def test_what_is_to_be_changed_is_where_the_page_says() -> None:
    for row in rows(ROOT / "docs" / "architecture.md", "to change"):
        code = {name: source(name) for name in quoted(row[1])}
        for name, own in code.items():
            if name.isidentifier() and not own:
                assert re.search(rf"\b{name}\b", "".join(code.values())), name


def test_the_messages_that_are_quoted_can_be_met() -> None:
    patterns = set()
    for path in (ROOT / "dbtools").rglob("*.py"):
        for node in ast.walk(ast.parse(text(path))):
            if isinstance(node, ast.JoinedStr):
                parts = [str(part.value) if isinstance(part, ast.Constant) else None for part in node.values]
                if sum(len(part or "") for part in parts) > 10:
                    patterns.add("".join(".+" if part is None else re.escape(part) for part in parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                patterns.add(re.escape(node.value))
    compiled = [re.compile(pattern) for pattern in patterns]
    for message in re.findall(r"^\*\*`(.*)`\*\*$", text(ROOT / "docs" / "questions.md"), re.MULTILINE):
        assert any(pattern.fullmatch(message) for pattern in compiled), message
