"""The program `dbtools`: Invoke's, with a list of tasks by what they are for, and completion of its own name."""

from __future__ import annotations

import difflib
import inspect
import os
import re
import sys
import textwrap
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from invoke.exceptions import Exit, ParseError
from invoke.program import Program as InvokeProgram

import dbtools
from dbtools import console
from dbtools.commands import completion
from dbtools.commands.collection import insert_options, namespace
from dbtools.commands.common import remainder
from dbtools.errors import NOT_RUN, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

WIDTH = 80
_FIRST = (
    ("init", "find what migrates and what seeds, and write [tool.dbtools]"),
    ("doctor", "would a reset work here? changes nothing"),
    ("reset", "do it: on DATABASE_URL, else on a server of its own"),
)
_ROOT_GROUPS = {
    "Chain: schema and data as one unit": ("init", "reset", "seed", "load", "migrate", "build"),
    "Checks: look at the database, and change nothing": ("doctor", "wait-for-db", "digest", "verify-concurrency"),
}
_OPTIONS = (
    ("--help", "[TASK]", "Explain a task, or print this."),
    ("--list", "[GROUP]", "List the tasks, or a group such as race."),
    ("--print-completion-script", "SHELL", "For bash, zsh or fish."),
    ("--version", "", "Print the version."),
)
_COMPLAINTS = (  # what Invoke's parser says, and what is said here
    (re.compile(r"No idea what '(?P<word>-.*)' is!"), "{task} has no option {word}."),
    (re.compile(r"No idea what '(?P<word>.*)' is!"), "There is no task {word}."),
    (
        re.compile(r"Flag (<Argument: |'--)(?P<flag>[\w-]+).* needed value and was not given one!"),
        "--{flag} needs a value.",
    ),
    (re.compile(r"'.*' did not receive required positional arguments: '(?P<name>.*)'"), "{task} needs a {name}."),
)


class Group(NamedTuple):
    """Tasks with one purpose: what they are for, the collection's name or "", and each as it is typed, with a line."""

    title: str
    name: str
    tasks: list[tuple[str, str]]


def groups() -> list[Group]:
    """Return all tasks by what they are for, in the order in which a newcomer needs them."""
    found = [Group(title, "", [_line(name, name) for name in names]) for title, names in _ROOT_GROUPS.items()]
    for name, collection in namespace.collections.items():
        default = collection.default
        tasks = sorted(collection.tasks, key=lambda task: task != default)
        lines = [_line(f"{name}.{task}", name if task == default else f"{name}.{task}") for task in tasks]
        found.append(Group((collection.__doc__ or "").rstrip("."), name, lines))
    return found


class Program(InvokeProgram):
    """Invoke's program with the tasks of dbtools, their list by groups, and what Invoke's parser lacks."""

    def __init__(self) -> None:
        super().__init__(version=dbtools.__version__, namespace=namespace, name="dbtools", binary="dbtools")

    def run(self, argv: list[str] | None = None, exit: bool = True) -> None:  # noqa: A002 - Invoke's name
        """Run what the command line says, and exit with the task's code; quietly where nobody reads the help."""
        try:
            super().run(argv, exit)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(1)

    def parse_core_args(self) -> None:
        """Parse the program's own options; print the completion script where that is asked for."""
        with _complaints():
            super().parse_core_args()
        shell = self.args["print-completion-script"].value
        if shell:
            self._print_script(shell)
            raise Exit

    def parse_collection(self) -> None:
        """Insert into the arguments what Invoke's parser needs."""
        insert_options(self.core.unparsed)
        super().parse_collection()

    def parse_tasks(self) -> None:
        """Parse tasks and their options; a word that is none is answered with what is like it."""
        with _complaints():
            super().parse_tasks()

    def parse_cleanup(self) -> None:
        """Answer a shell that completes, and whoever asks for help or a list; else go on."""
        if self.args.complete.value:
            self._complete(remainder(self.argv))
            raise Exit
        with _complaints():
            super().parse_cleanup()

    def print_help(self) -> None:
        """Print what to type first, every task, and the program's options."""
        called = console.program()
        _print(
            "Rebuild a PostgreSQL database, migrations and seed, as one unit under one lock.\n",
            f"Usage: {called} TASK [--option VALUE ...] [TASK ...]\n",
            "The first time, in the project's folder:",
            *_columns([(f"{called} {task}", text) for task, text in _FIRST]),
            "",
            *_list(groups()),
            "Options:",
            *_columns([(f"{name} {value}".rstrip(), text) for name, value, text in _OPTIONS]),
            f"\nWhat a task does, and its options: {called} --help TASK",
        )

    def list_flat(self) -> None:
        """Print all tasks by groups, or those of one group."""
        _print(*_list([group for group in groups() if self.list_root in (None, group.name)]))

    def print_task_help(self, name: str) -> None:
        """Print a task's usage, what it does, and its options."""
        alias = [*namespace.task_names.get(name, ()), name][0]
        paragraphs = console.as_typed(inspect.getdoc(namespace[name]) or "").split("\n\n")
        flags = [(flag, console.as_typed(text or "")) for flag, text in self.parser.contexts[name].help_tuples()]
        _print(
            f"Usage: {console.program()} {_typed(name, alias)} [--option VALUE ...]\n",
            # An example is indented, and stays as it is.
            *(f"{text if text.startswith(' ') else textwrap.fill(text, WIDTH - 1)}\n" for text in paragraphs),
            "Options:",
            *_columns([*flags, ("--help", "Print this")]),
        )

    def _print_script(self, shell: str) -> None:
        script = completion.SCRIPTS.get(shell)
        if script is None:
            known = ", ".join(completion.SCRIPTS)
            error = ConfigurationError(
                f"There is no completion for {shell}.",
                "",
                f"Give one of {known}: {console.program()} --print-completion-script bash",
                NOT_RUN,
            )
            raise Exit(str(error), error.exit_code)
        _print(script.rstrip())

    def _complete(self, words: list[str]) -> None:
        insert_options(words)
        names = {name: (name, *aliases) for name, aliases in namespace.task_names.items()}
        tasks = {each: self.parser.contexts[name] for name, all_names in names.items() for each in all_names}
        abouts = {each: _about(name) for name, all_names in names.items() for each in all_names}
        values = {
            "--help": tuple(abouts.items()),
            "-h": tuple(abouts.items()),
            "--list": tuple((group.name, group.title) for group in groups() if group.name),
            "--print-completion-script": tuple((shell, "") for shell in completion.SCRIPTS),
        }
        options = [(name, text) for name, _, text in _OPTIONS]
        found = completion.candidates(words or [""], options, values, tasks, abouts)
        _print(*(f"{word}\t{console.as_typed(about)}" for word, about in found))


def _about(name: str) -> str:
    """Return the first line of a task's docstring."""
    return (inspect.getdoc(namespace[name]) or "").partition("\n")[0]


def _typed(path: str, name: str) -> str:
    """Return a task's name as it is typed: with what has to follow it."""
    task = namespace[path]
    # Invoke counts every list as positional; that of files is: see insert_file_options.
    needed = [word.upper() for word in task.positional if word not in task.iterable or word == "file"]
    return " ".join([name, *needed])


def _line(path: str, name: str) -> tuple[str, str]:
    return _typed(path, name), console.as_typed(_about(path))


def _list(found: list[Group]) -> Iterator[str]:
    width = max(len(name) for group in found for name, _ in group.tasks)
    for group in found:
        yield group.title
        yield from _columns(group.tasks, width)
        yield ""


def _columns(rows: list[tuple[str, str]], width: int = 0) -> Iterator[str]:
    """Yield the lines of two columns, the second one wrapped."""
    width = width or max(len(name) for name, _ in rows)
    for name, text in rows:
        first, *more = textwrap.wrap(text, WIDTH - 1 - width - 5) or [""]
        yield f"  {name:{width}}   {first}".rstrip()
        yield from (" " * (width + 5) + line for line in more)


def _print(*lines: str) -> None:
    print(*lines, sep="\n", end="\n" if lines else "", flush=True)


@contextmanager
def _complaints() -> Iterator[None]:
    """Say what Invoke's parser complains of in three lines, with what may have been meant."""
    try:
        yield
    except ParseError as error:
        raise Exit(str(_complaint(error)), 1) from None


def _complaint(error: ParseError) -> ConfigurationError:
    task = getattr(error.context, "name", None)
    what, word = str(error), ""
    for pattern, ours in _COMPLAINTS:
        found = pattern.fullmatch(what)
        if found:
            what = ours.format(task=task or console.program(), **found.groupdict())
            word = found.groupdict().get("word", "")
            break
    names = [*namespace.task_names]
    if word.startswith("-"):
        names = [*error.context.flag_names()] if error.context and task else [name for name, _, _ in _OPTIONS]
    like = difflib.get_close_matches(word, names, 1) if word else []
    about_task = task and (not word or word.startswith("-"))
    hint = f"Its options: {console.program()} --help {task}" if about_task else f"The tasks: {console.program()} --list"
    return ConfigurationError(what, f"Did you mean {like[0]}?" if like else "", hint, NOT_RUN)
