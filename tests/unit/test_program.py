"""The program `dbtools`: its list of tasks, its help, its answers to what it does not know, and its completion."""

from __future__ import annotations

import inspect
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dbtools.__main__ import main
from dbtools.commands import namespace, program

ROOT = Path(__file__).resolve().parent.parent.parent
MAX_LINE = 79
MAX_ABOUT = 48
"""So long may the first line about a task be, where `invoke --list` is to need one line for it in 80 columns."""
SHELL_WORDS = """
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_dbtools
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def called(tmp_path: Path) -> Path:
    """A program `dbtools` as an installer would write it."""
    script = tmp_path / "bin" / "dbtools"
    script.parent.mkdir()
    script.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(ROOT)!r})\n"
        "from dbtools.__main__ import main\nmain()\n",
        "utf-8",
    )
    script.chmod(0o755)
    return script


def run(called: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([called, *words], cwd=called.parent, text=True, capture_output=True)


def run_here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """As `run`, in this process: quicker, but Invoke shows a task's help only once in each."""
    monkeypatch.setattr(sys, "argv", ["/usr/bin/dbtools", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    shown = capsys.readouterr()
    return int(ended.value.code or 0), shown.out, shown.err


def test_the_help_says_what_to_type_first_and_has_a_line_for_every_task(called: Path) -> None:
    done = run(called, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[:8] == [
        "Rebuild a PostgreSQL database, migrations and seed, as one unit under one lock.",
        "",
        "Usage: dbtools TASK [--option VALUE ...] [TASK ...]",
        "",
        "The first time, in the project's folder:",
        "  dbtools init     find what migrates and what seeds, and write [tool.dbtools]",
        "  dbtools doctor   would a reset work here? changes nothing",
        "  dbtools reset    do it: on DATABASE_URL, else on a server of its own",
    ]
    assert max(map(len, lines)) <= MAX_LINE
    for name, aliases in namespace.task_names.items():
        about = (inspect.getdoc(namespace[name]) or "").partition("\n")[0]
        (line,) = (line for line in lines if line.endswith(f"   {about}"))
        assert line.split()[0] == [*aliases, name][0]
    listed = run(called, "--list").stdout
    assert listed in done.stdout
    assert [group.title for group in program.groups()] == [
        line for line in listed.splitlines() if line and not line.startswith(" ")
    ]
    snapshots = run(called, "--list", "snapshot").stdout
    assert snapshots.splitlines()[:2] == [
        "Snapshots: what the steps made, kept as files",
        "  snapshot.list        List the snapshots, most recently used first.",
    ]


@pytest.mark.parametrize("name", sorted(namespace.task_names))
def test_a_task_is_told_in_one_line(name: str) -> None:
    about = (inspect.getdoc(namespace[name]) or "").partition("\n")[0]
    assert about.endswith(".")
    assert len(about) <= MAX_ABOUT


def test_the_help_of_a_task_fits(called: Path) -> None:
    assert run(called, "snapshot.show", "--help").stdout == (
        "Usage: dbtools snapshot.show [--option VALUE ...]\n\n"
        "Show what a snapshot holds, and its origin.\n\n"
        "It is the one used last, unless a key is given.\n\n"
        "    dbtools snapshot.show --key 3f2a\n\n"
        "Options:\n"
        "  --debug        Show a traceback with an error\n"
        "  --json         Print the result as JSON, nothing else, on standard output\n"
        "  --key=STRING   The beginning of its key\n"
        "  --help         Print this\n"
    )


@pytest.mark.parametrize(
    ("words", "first"),
    [
        (["sandbox", "--help"], "Usage: dbtools sandbox NAME [--option VALUE ...]"),
        (["sandbox.drop", "-h"], "Usage: dbtools sandbox.drop NAME [--option VALUE ...]"),
        (["race.replay", "--help"], "Usage: dbtools race.replay TOKEN [--option VALUE ...]"),
        (["race.spec", "--help"], "Usage: dbtools race.spec FILE [--option VALUE ...]"),
        (["race.merge", "--help"], "Usage: dbtools race.merge FILE [--option VALUE ...]"),
        (["reset", "--help"], "Usage: dbtools reset [--option VALUE ...]"),
    ],
)
def test_help_is_never_taken_for_the_name_that_a_task_needs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], first: str
) -> None:
    code, out, _ = run_here(monkeypatch, capsys, *words)
    assert (code, out.splitlines()[0]) == (0, first)


def test_nor_does_invoke_take_it() -> None:
    command = [sys.executable, "-m", "invoke", "sandbox", "--help"]
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True)
    assert (done.returncode, "The sandbox's name" in done.stdout) == (0, True)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["rest"], 1, "There is no task rest.\nDid you mean reset? Nothing was run.\nThe tasks: dbtools --list\n"),
        (["--help", "xyz"], 1, "There is no task xyz.\nNothing was run.\nThe tasks: dbtools --list\n"),
        (
            ["reset", "--profil", "uat"],
            1,
            "reset has no option --profil.\nDid you mean --profile? Nothing was run.\n"
            "Its options: dbtools --help reset\n",
        ),
        (
            ["--halp"],
            1,
            "dbtools has no option --halp.\nDid you mean --help? Nothing was run.\nThe tasks: dbtools --list\n",
        ),
        (
            ["reset", "--profile"],
            1,
            "--profile needs a value.\nNothing was run.\nIts options: dbtools --help reset\n",
        ),
        (
            ["snapshot.save"],
            1,
            "snapshot.save needs a file.\nNothing was run.\nIts options: dbtools --help snapshot.save\n",
        ),
        (
            ["--print-completion-script"],
            1,
            "--print-completion-script needs a value.\nNothing was run.\nThe tasks: dbtools --list\n",
        ),
        (
            ["--print-completion-script", "ksh"],
            2,
            "There is no completion for ksh.\nNothing was run.\n"
            "Give one of bash, zsh, fish: dbtools --print-completion-script bash\n",
        ),
        (
            ["reset", "--dry"],
            2,
            "--dry does not hold a task of dbtools back.\n"
            "It is an option of Invoke's, for the shell commands that tasks run, and these run none. Nothing was run.\n"
            "To see whether a reset would work, on a database of its own: dbtools doctor --build\n",
        ),
    ],
)
def test_what_is_not_known_is_answered_with_what_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], code: int, said: str
) -> None:
    assert run_here(monkeypatch, capsys, *words) == (code, "", said)


def test_who_reads_only_the_beginning_gets_no_traceback(called: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run([called, "--help"], stdout=writing, stderr=subprocess.PIPE, text=True)
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["rese"], ["reset"]),
        (["reset", "snapshot.s"], ["snapshot.show", "snapshot.save"]),
        (["reset", "--lo"], ["--lock-timeout"]),
        (["reset", "--json", "--al"], ["--allow-host"]),
        (["reset", "--json", "seed", "--kn"], ["--known-users-only"]),
        (["reset", "--evidence", ""], []),  # a file: for the shell to say
        (["reset", "--evidence", "re"], []),
        (["reset", "--evidence", "report.md", "dig"], ["digest"]),
        (["reset", "--profile", "=", "d"], []),  # three words in bash
        (["reset", "--profile", "=", "dev", "dig"], ["digest"]),
        (["--help", "dig"], ["digest"]),
        (["--help", "--li"], ["--list"]),
        (["--list", "s"], ["server", "snapshot", "sandbox"]),
        (["--print-completion-script", ""], ["bash", "zsh", "fish"]),
        (["--v"], ["--version"]),
        (["sandbox", "s"], []),  # its name
        (["sandbox", "mine", "see"], ["seed"]),
        (["sandbox", "--branch", "--sc"], ["--schema-only"]),
        (["race.spec", "s"], []),
        (["race.spec", "some.spec", "s"], []),
        (["race.spec", "some.spec", "--ex"], ["--expected"]),
        (["race.merge", "1.json", "2"], []),
        (["race.explore", "some", "--sh"], ["--shard"]),
        (["server.psql", "--", "-"], []),
        (["nonsense", "dig"], ["digest"]),
    ],
)
def test_what_completes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], found: list[str]
) -> None:
    code, out, err = run_here(monkeypatch, capsys, "--complete", "--", *words)
    assert (code, err) == (0, "")
    assert [line.partition("\t")[0] for line in out.splitlines()] == found


def test_bash_completes_the_program_wherever_it_is(called: Path, tmp_path: Path) -> None:
    script = tmp_path / "completion.bash"
    script.write_text(run(called, "--print-completion-script", "bash").stdout + SHELL_WORDS, "utf-8")
    home = os.environ | {"HOME": str(tmp_path)}

    def complete(*words: str) -> list[str]:
        command = ["bash", "--norc", str(script), *words]
        return subprocess.run(command, env=home, text=True, capture_output=True, check=True).stdout.split()

    assert complete(str(called), "rese") == ["reset"]
    assert complete("~/bin/dbtools", "reset", "--in") == ["--in-place"]
    assert complete(str(called), "reset", "--confirm", "a b", "--ev") == ["--evidence"]
    assert complete(str(called), "reset", "--evidence", "") == []
    assert complete("~/elsewhere/dbtools", "rese") == []


def test_fish_completes(called: Path, tmp_path: Path) -> None:
    fish = shutil.which("fish")
    if not fish:
        pytest.skip("there is no fish")
    script = tmp_path / "completion.fish"
    script.write_text(run(called, "--print-completion-script", "fish").stdout, "utf-8")
    (tmp_path / "report.md").touch()
    environ = os.environ | {"HOME": str(tmp_path), "PATH": f"{called.parent}:{os.environ['PATH']}"}

    def complete(line: str) -> list[str]:
        command = [str(fish), "--no-config", "-c", f"source {script}; complete -C {line!r}"]
        done = subprocess.run(command, cwd=tmp_path, env=environ, text=True, capture_output=True, check=True)
        return done.stdout.splitlines()

    assert complete("dbtools rese") == ["reset\tRebuild schema and data, as one unit."]
    assert complete("~/bin/dbtools reset --in")[0].startswith("--in-place\t")
    assert complete("dbtools reset --evidence rep") == ["report.md"]


def test_zsh_reads_the_script(called: Path, tmp_path: Path) -> None:
    zsh = shutil.which("zsh")
    if not zsh:
        pytest.skip("there is no zsh")
    script = run(called, "--print-completion-script", "zsh").stdout
    check = f"{script}\nprint -- $_comps[dbtools]"
    done = subprocess.run(
        [zsh, "-f", "-c", check], env=os.environ | {"HOME": str(tmp_path)}, text=True, capture_output=True
    )
    assert (done.stdout, done.stderr) == ("_dbtools\n", "")
