"""What is read without Invoke is what Invoke would read, and the rest is left to it."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from invoke.exceptions import ParseError
from invoke.program import Program

from dbtools.commands import namespace, quick

TASKS = ("wait-for-db", "reset", "seed", "migrate", "digest")


def options_of(task: str) -> list[str]:
    """Return the options of a task, as they are typed."""
    return [f"--{argument.names[0]}" for argument in namespace[task].get_arguments()]


def read_by_invoke(words: list[str]) -> tuple[str, dict[str, Any]] | None:
    """Return the only task that Invoke finds, with the values of all its options."""
    program = Program(namespace=namespace)
    program.create_config()
    try:
        program.parse_core(["dbtools", *words])
        program.parse_collection()
        program.parse_tasks()
    except ParseError:
        return None
    if len(program.tasks) != 1 or program.args.help.value:
        return None
    return str(program.tasks[0].name), program.tasks[0].as_kwargs


def read_quickly(words: list[str]) -> tuple[str, dict[str, Any]] | None:
    """Return the same of what is read without Invoke."""
    task = quick.find(words[0])
    options = task and quick.read_options(task, words[1:])
    if task is None or options is None:
        return None
    values = {name: one.default for name, one in [*inspect.signature(task).parameters.items()][1:]}
    if "allow_host" in values:
        values["allow_host"] = []  # what Invoke makes of None
    return words[0], values | options


@pytest.mark.parametrize("task", TASKS)
def test_every_option_is_read_as_invoke_reads_it(task: str) -> None:
    flags = {"--json", "--debug", "--in-place", "--rebuild", "--known-users-only"}
    for option in options_of(task):
        for words in [[task, option]] if option in flags else [[task, option, "x"], [task, f"{option}=x=y"]]:
            assert read_quickly(words) == read_by_invoke(words) is not None
    assert read_quickly([task]) == read_by_invoke([task]) is not None


WORDS = st.sampled_from(
    [
        *sorted({option for task in TASKS for option in options_of(task)}),
        *(
            "--profile=uat",
            "--allow-host=a",
            "--json=true",
            "--confirm=",
            "--as_of",
            "--in_place",
            "--prof",
            "--no-json",
        ),
        *(
            "--",
            "-d",
            "-e",
            "--help",
            "--list",
            "--echo",
            "--timeout=-1",
            "reset",
            "seed",
            "uat",
            "-1",
            "",
            "--x",
            "a=b",
        ),
    ]
)


@given(st.sampled_from(TASKS), st.lists(WORDS, max_size=4))
@settings(max_examples=150)
def test_nothing_is_read_otherwise_than_by_invoke(task: str, rest: list[str]) -> None:
    words = [task, *rest]
    assert read_quickly(words) in (None, read_by_invoke(words))


@pytest.mark.parametrize(
    "words",
    [
        ["reset", "--help"],
        ["reset", "--profile"],
        ["reset", "--profile", "--json"],
        ["reset", "--profile", "dev", "--profile", "uat"],
        ["reset", "--no-such-option"],
        ["reset", "seed"],
        ["reset", "uat"],
        ["reset", "--json=true"],
        ["reset", "--"],
    ],
)
def test_what_is_not_certain_is_left_to_invoke(words: list[str]) -> None:
    assert read_quickly(words) is None


@pytest.mark.parametrize("words", [[], ["--list"], ["build"], ["sandbox"], ["--debug", "reset"]])
def test_other_tasks_and_invokes_own_options_are_left_to_invoke(words: list[str]) -> None:
    assert quick.run(words) is False


def test_invokes_variables_are_left_to_invoke(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INVOKE_DEBUG", "1")
    assert quick.run(["reset"]) is False


def test_a_quick_task_imports_no_invoke() -> None:
    program = (
        "import sys; from dbtools.commands import database, quick;"
        " database._run = lambda action, options, **own: print(action, options.profile, own, 'invoke' in sys.modules);"
        " print(quick.run(['reset', '--profile', 'uat', '--rebuild']))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == ("reset uat {'in_place': False, 'rebuild': True, 'file': ''} False\nTrue\n")


def test_an_error_ends_as_it_does_in_invoke() -> None:
    ends = [
        subprocess.run(
            [sys.executable, "-m", "dbtools", "wait-for-db", "--timeout", "soon"],
            env=os.environ | variables,
            capture_output=True,
            text=True,
        )
        for variables in ({}, {"INVOKE_TASKS_DEDUPE": "1"})
    ]
    assert [end.returncode for end in ends] == [2, 2]
    assert ends[0].stderr == ends[1].stderr
    assert ends[0].stderr.startswith("--timeout is not a number, or out of range: 'soon'")
