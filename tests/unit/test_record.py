"""What a program reads is recorded, and the program does not notice."""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.led import LEAD, read_record, run_led


def recorded(project: Path, program: str, environment: Mapping[str, str] | None = None) -> dict[str, list[Any]]:
    """Run `program` in the folder `project` and return its record."""
    record = project / ".dbtools" / "record"
    record.parent.mkdir(parents=True, exist_ok=True)
    done = run_led(["-c", program], project, record=record, environment=environment)
    assert (done.returncode, done.stderr) == (0, "")
    return read_record(record)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


def test_files_that_are_opened_for_reading_count_and_others_do_not(project: Path) -> None:
    for name in ("settings.toml", "raw.csv", "both.db", "appended.log"):
        (project / name).write_text("x")
    found = recorded(
        project,
        "import os, pathlib\n"
        "pathlib.Path('settings.toml').read_text()\n"
        "os.close(os.open('raw.csv', os.O_RDONLY))\n"
        "open('both.db', 'r+').close()\n"
        "open('appended.log', 'a').close()\n"
        "open('new.txt', 'w').close(); open('new.txt').close()\n"
        "try: open('missing.env')\n"
        "except FileNotFoundError: pass\n",
    )
    assert found["file"] == [str(project / name) for name in ("settings.toml", "raw.csv", "both.db", "missing.env")]


def test_an_imported_module_is_its_source_with_a_fresh_cache_too(project: Path) -> None:
    package = project / "app"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "models.py").touch()
    cold, warm = recorded(project, "import app.models"), recorded(project, "import app.models")
    sources = [str(package / "__init__.py"), str(package / "models.py")]
    assert (package / "__pycache__").exists()
    assert [path for path in dict.fromkeys(cold["file"]) if path in sources] == sources
    assert [path for path in dict.fromkeys(warm["file"]) if path in sources] == sources
    assert not [path for path in warm["file"] if path.endswith(".pyc")]


def test_a_cache_in_another_folder_is_its_source_too(project: Path, tmp_path: Path) -> None:
    (project / "models.py").touch()
    elsewhere = str(tmp_path / "caches")
    recorded(project, "import models", {"PYTHONPYCACHEPREFIX": elsewhere})
    (project / ".dbtools" / "record").unlink()
    assert str(project / "models.py") in recorded(project, "import models", {"PYTHONPYCACHEPREFIX": elsewhere})["file"]


def test_folders_that_are_listed(project: Path) -> None:
    for name in ("one", "two", "three"):
        (project / name).mkdir()
    found = recorded(
        project, "import os, pathlib; os.listdir('one'); os.scandir('two'); list(pathlib.Path('three').glob('*'))"
    )
    assert {str(project / name) for name in ("one", "two", "three")} <= set(found["folder"])


def test_what_is_not_the_project_is_left_out(project: Path) -> None:
    for name in (".git/HEAD", ".dbtools/cache/x", "vendor/site-packages/pkg/x.py"):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).touch()
    found = recorded(
        project,
        "import os, sys, json, decimal, psycopg\n"
        "for path in ('.git/HEAD', '.dbtools/cache/x', 'vendor/site-packages/pkg/x.py', '/proc/stat', '/etc/passwd'):\n"
        "    open(path).close()\n"
        "open(0, closefd=False); os.listdir('/proc'); os.listdir('.git')\n"
        "os.mkdir('__pycache__'); os.listdir('__pycache__')\n",
    )
    assert found.get("file", []) == []
    others = [folder for folder in found.get("folder", []) if folder != str(project)]
    assert [folder for folder in others if not folder.startswith(str(LEAD.parent.parent))] == []  # coverage's own look


def test_the_temp_folder_is_left_out_unless_the_program_runs_in_it(project: Path, tmp_path: Path) -> None:
    temp = tmp_path / "temp"
    (temp / "inner").mkdir(parents=True)
    (temp / "inner" / "x").touch()
    program = f"open({str(temp / 'inner' / 'x')!r})"
    assert "file" not in recorded(project, program, {"TMPDIR": str(temp)})
    assert recorded(temp / "inner", program, {"TMPDIR": str(temp)})["file"] == [str(temp / "inner" / "x")]
    # What a project there makes for a moment, as multiprocessing does, is beside it.
    beside = "import os, tempfile\nwith tempfile.TemporaryDirectory() as folder: os.listdir(folder)\n"
    found = recorded(temp / "inner", beside + program, {"TMPDIR": str(temp)})
    assert set(found["file"]) == {str(temp / "inner" / "x")}
    assert [path for path in found.get("folder", ()) if Path(path).parent == temp] == []


def test_variables_that_are_read(project: Path) -> None:
    found = recorded(
        project,
        "import os\n"
        "os.environ['APP_URL']; os.getenv('APP_DEBUG', ''); os.environ.get('APP_NONE'); 'APP_ASKED' in os.environ\n"
        "os.environb.get(b'APP_BYTES'); os.environ['APP_SET'] = 'x'; len(os.environ)\n",
        {"APP_URL": "x"},
    )
    ours = [name for name in found["variable"] if name.startswith(("APP_", "DBTOOLS_", "PYTHONPATH"))]
    assert ours == ["APP_URL", "APP_DEBUG", "APP_NONE", "APP_ASKED", "APP_BYTES"]
    assert "variables" not in found


@pytest.mark.parametrize(
    "reading",
    ["list(os.environ)", "os.environ.copy()", "os.environ | {}", "dict(os.environ)", "{**os.environ, 'X': '1'}"],
)
def test_all_variables_are_read(project: Path, reading: str) -> None:
    assert recorded(project, f"import os; {reading}")["variables"] == [True]


def test_the_environment_stays_what_it_is(project: Path) -> None:
    recorded(
        project,
        "import os, subprocess, sys\n"
        "from os import environ\n"
        "assert environ is os.environ and isinstance(environ, os._Environ)\n"
        "environ['APP_ONE'] = '1'; environ.setdefault('APP_TWO', '2'); os.environb[b'APP_THREE'] = b'3'\n"
        'ask = \'import os; print(*(os.getenv("APP_" + name) for name in ("ONE", "TWO", "THREE", "FOUR")))\'\n'
        "def told(env): return subprocess.check_output([sys.executable, '-c', ask], env=env, text=True).split()\n"
        "assert told(None) == told(environ) == told(environ.copy()) == ['1', '2', '3', 'None']\n"
        "assert told(environ | {'APP_FOUR': '4'}) == ['1', '2', '3', '4']\n"
        "assert (environ.copy() | {}) == dict(environ) and environ.pop('APP_ONE') == '1' and 'APP_ONE' not in environ\n"
        "try: environ['APP_ONE']\n"
        "except KeyError as error: assert error.args == ('APP_ONE',)\n"
        "try: environ[1]\n"
        "except TypeError: pass\n",
    )


def test_programs_that_are_not_python(project: Path) -> None:
    script = project / "tool"
    script.write_text(f"#!{sys.executable}\n")
    script.chmod(0o755)
    found = recorded(
        project,
        "import os, subprocess, sys\n"
        "subprocess.run(['true']); subprocess.run('exit 0', shell=True); os.system('exit 0')\n"
        "subprocess.run([sys.executable, '-W', 'error', '-c', '']); subprocess.run(['./tool'])\n"
        "subprocess.run([sys.executable, '-'], stdin=subprocess.DEVNULL)\n"
        "os.waitpid(os.posix_spawn('/bin/false', ['false'], os.environ), 0)\n"
        "if os.fork() == 0: os.execvp('uname', ['uname', '--version'])\n"
        "os.wait()\n",
    )
    assert found["program"] == ["true", "sh", "false", "uname"]
    assert set(found["file"]) == {str(script)}  # run by us and by itself
    assert "python" in recorded(project, "import subprocess; subprocess.run(['python', '-I', '-c', ''])")["program"][-1]


def test_children_add_to_the_same_record(project: Path) -> None:
    for name in ("child", "fork", "scrubbed", "bytes", "spawned"):
        (project / name).touch()
    (project / "main.py").write_text(
        "import multiprocessing, os, subprocess, sys\n"
        "def read(name): open(name).close()\n"
        "if __name__ == '__main__':\n"
        "    subprocess.run([sys.executable, '-c', 'open(\"child\")'])\n"
        "    subprocess.run([sys.executable, '-c', 'open(\"scrubbed\")'], env={'PYTHONPATH': 'src'})\n"
        "    subprocess.run([sys.executable, '-c', 'open(\"bytes\")'], env={b'PYTHONPATH': b'src'})\n"
        "    if os.fork() == 0: read('fork'); os._exit(0)\n"
        "    os.wait()\n"
        "    child = multiprocessing.get_context('spawn').Process(target=read, args=('spawned',))\n"
        "    child.start(); child.join()\n"
    )
    record = project / "record"
    assert run_led(["main.py"], project, record=record).stderr == ""
    found = read_record(record)
    assert {str(project / name) for name in ("child", "fork", "scrubbed", "bytes", "spawned")} <= set(found["file"])


def test_folders_of_installed_packages(project: Path) -> None:
    assert [Path(path).name for path in recorded(project, "")["packages"]] == ["site-packages"]


def test_each_line_is_written_once_by_a_process(project: Path) -> None:
    (project / "x").touch()
    found = recorded(project, "import os\nfor _ in range(9): open('x').close(); os.getenv('APP')")
    assert found["file"] == [str(project / "x")]
    assert found["variable"].count("APP") == 1


def test_a_record_that_cannot_be_written_ends_the_program(project: Path) -> None:
    done = run_led(["-c", "print('went on')"], project, record=project / "missing" / "record")
    assert (done.returncode, done.stdout) == (70, "")
    assert done.stderr.startswith("dbtools: cannot record what this program reads: ")


def test_a_path_of_any_bytes_is_recorded(project: Path) -> None:
    name = b'odd "\xff\n name'
    (project / os.fsdecode(name)).touch()
    assert recorded(project, f"open({name!r})")["file"] == [str(project / os.fsdecode(name))]


def test_the_sitecustomize_of_the_environment_runs_too(project: Path) -> None:
    (project / "sitecustomize.py").write_text("import os; os.environ['FROM_THEIRS'] = __file__")
    done = run_led(
        ["-c", "import os, sys, sitecustomize; print(sitecustomize.__file__, os.environ['FROM_THEIRS'], sys.path)"],
        project,
        record=project / "record",
        environment={"PYTHONPATH": os.pathsep.join([str(LEAD), str(project)])},
    )
    theirs = str(project / "sitecustomize.py")
    assert done.stdout.startswith(f"{theirs} {theirs} ")
    assert str(LEAD) not in done.stdout


def test_nothing_is_changed_without_our_variables(project: Path) -> None:
    done = run_led(["-c", "import os, sys; print(type(os.environ).__name__, sys.meta_path[0])"], project)
    assert done.stdout.startswith("_Environ ")
    assert "dbtools" not in done.stdout


@pytest.mark.parametrize("module", sorted(LEAD.glob("*.py")), ids=lambda path: path.name)
def test_it_needs_nothing_but_the_standard_library_of_python_3_8(module: Path) -> None:
    tree = ast.parse(module.read_text("utf-8"), feature_version=(3, 8))
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.partition(".")[0])
    of_the_project = {"alembic", "sqlalchemy"}  # imported where the project has them
    beside = {"lead_failure", *(("record", "target") if module.stem == "run_client" else ())}  # imported as scripts do
    assert names - of_the_project - beside <= sys.stdlib_module_names
