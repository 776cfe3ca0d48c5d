"""Parse PostgreSQL's isolation-spec language: the grammar and the checks of its specparse.y and isolationtester.c.

A file holds set-up blocks, at most one tear-down block, sessions with their steps, and the permutations to run the
steps in. A file that lists no permutation stands for every interleaving of its sessions.
"""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from dbtools.errors import NOT_RUN, ConfigurationError
from dbtools.isolation.scanner import KEYWORDS, Token, scan
from dbtools.isolation.spec import ENCODING, NumNotices, Once, OtherStep, PermutationStep, Session, Spec, Step

if TYPE_CHECKING:
    from pathlib import Path

    from dbtools.isolation.spec import Permutation, PermutationStepBlocker


def read_spec(path: Path) -> Spec:
    """Return the spec in a file, which may begin with a byte order mark.

    Raises:
        ConfigurationError: The file cannot be read, or is not in the language; names the file and the line.
    """
    try:
        text = path.read_bytes().removeprefix(codecs.BOM_UTF8).decode(*ENCODING)
    except OSError as error:
        raise ConfigurationError(
            f"Cannot read {path}.",
            f"{error.strerror}.",
            "Give the path of an isolation spec, such as specs/my-race.spec",
            NOT_RUN,
        ) from None
    return parse(text, path.stem, str(path))


def parse(text: str, name: str = "spec", source: str = "spec") -> Spec:
    """Return the spec that a text holds; `source` is what errors call the text.

    Raises:
        ConfigurationError: The text is not in the language; names the source and the line.
    """
    return _Parser(text, source).parse(name)


@dataclass(frozen=True)
class _BlockerReference:
    """A blocker as written: `*` has no step, only `STEP notices N` has a number."""

    step: str | None
    notices: int | None = None


@dataclass(frozen=True)
class _StepReference:
    """A step of a permutation as written."""

    name: str
    line: int
    blockers: tuple[_BlockerReference, ...]


class _Parser:
    """Recursive descent, with one token of lookahead."""

    def __init__(self, text: str, source: str) -> None:
        self._source = source
        self._tokens = scan(text, self._fail)
        self._next = next(self._tokens)

    def parse(self, name: str) -> Spec:
        setups = []
        while (block := self._block_after("setup")) is not None:
            setups.append(block)
        teardown = self._block_after("teardown")
        sessions = [self._session(0)]
        while self._next.kind == "session":
            sessions.append(self._session(len(sessions)))
        listed = []
        while self._accept("permutation"):
            references = [self._step_reference()]
            while self._next.kind == "name":
                references.append(self._step_reference())
            listed.append(references)
        self._expect("end")
        steps = self._steps_by_name(sessions)
        permutations = tuple(self._resolve(references, steps) for references in listed)
        return Spec(name, tuple(setups), teardown, tuple(sessions), permutations)

    def _session(self, index: int) -> Session:
        self._expect("session")
        name = self._expect("name").text
        setup = self._block_after("setup")
        steps = [self._step(index)]
        while self._next.kind == "step":
            steps.append(self._step(index))
        return Session(name, setup, tuple(steps), self._block_after("teardown"))

    def _step(self, session: int) -> Step:
        line = self._expect("step").line
        return Step(self._expect("name").text, self._expect("block").text, session, line)

    def _step_reference(self) -> _StepReference:
        name = self._expect("name")
        blockers = []
        if self._accept("("):
            blockers.append(self._blocker_reference())
            while self._accept(","):
                blockers.append(self._blocker_reference())
            self._expect(")")
        return _StepReference(name.text, name.line, tuple(blockers))

    def _blocker_reference(self) -> _BlockerReference:
        if self._accept("*"):
            return _BlockerReference(None)
        name = self._expect("name").text
        return _BlockerReference(name, int(self._expect("number").text) if self._accept("notices") else None)

    def _steps_by_name(self, sessions: list[Session]) -> dict[str, Step]:
        steps: dict[str, Step] = {}
        for step in (step for session in sessions for step in session.steps):
            if step.name in steps:
                self._fail(step.line, f'a second step is named "{step.name}"')
            steps[step.name] = step
        return steps

    def _resolve(self, references: list[_StepReference], steps: dict[str, Step]) -> Permutation:
        """Return a permutation with the steps that its names stand for."""
        in_permutation = {reference.name for reference in references} & steps.keys()
        permutation = []
        for reference in references:
            if reference.name not in steps:
                self._fail(reference.line, f'the permutation names a step "{reference.name}", which does not exist')
            step = steps[reference.name]
            blockers: list[PermutationStepBlocker] = []
            for blocker in reference.blockers:
                if blocker.step is None:
                    blockers.append(Once())
                    continue
                refusal = f'"{step.name}" cannot wait for "{blocker.step}"'
                if blocker.step not in in_permutation:
                    self._fail(reference.line, f"{refusal}, which is not in its permutation")
                other = steps[blocker.step]
                if other.session == step.session:
                    self._fail(reference.line, f"{refusal}, a step of its own session")
                blockers.append(OtherStep(other) if blocker.notices is None else NumNotices(other, blocker.notices))
            permutation.append(PermutationStep(step, tuple(blockers)))
        return tuple(permutation)

    def _block_after(self, keyword: str) -> str | None:
        return self._expect("block").text if self._accept(keyword) else None

    def _accept(self, kind: str) -> bool:
        if self._next.kind != kind:
            return False
        self._expect(kind)
        return True

    def _expect(self, kind: str) -> Token:
        token = self._next
        if token.kind != kind:
            found = "the end of the file" if token.kind == "end" else f'"{token.text}"'
            # After the last permutation, or the last session, only another permutation may follow.
            wanted = "permutation" if kind == "end" else kind
            if wanted not in KEYWORDS | {"name", "block", "number"}:
                wanted = f'"{wanted}"'
            self._fail(token.line, f"found {found} where {wanted} should be")
        if kind != "end":
            self._next = next(self._tokens)
        return token

    def _fail(self, line: int, why: str) -> NoReturn:
        raise ConfigurationError(
            f"{self._source} is not an isolation spec.",
            f"Line {line}: {why}.",
            "A file holds setup and teardown blocks, sessions with their steps, then permutations, in this order.",
            NOT_RUN,
        )
