"""Read a file in PostgreSQL's isolation-spec language: the same grammar and the same checks as its isolation tester.

A file holds set-up blocks, at most one tear-down block, sessions with their steps, and the orders to run the steps in
(permutations). A file that names no permutation stands for every interleaving of its sessions.

Text is kept as it is in the file, byte for byte: what is not UTF-8 survives as surrogates (`text.encode(*ENCODING)`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from dbtools.errors import NOT_RUN, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ENCODING = ("utf-8", "surrogateescape")

KEYWORDS = frozenset({"notices", "permutation", "session", "setup", "step", "teardown"})
# A blank is not a newline: a block on lines of its own keeps its first and last line end. A carriage return ends a
# comment, and every byte from 0x80 on is a letter.
_TOKEN = re.compile(
    r"""
      (?P<space> [ \t\r\f\n]+ | \#[^\n\r]* )
    | (?P<word> [A-Za-z_\x80-\U0010ffff][A-Za-z0-9_$\x80-\U0010ffff]* )
    | " (?P<quoted> (?: [^"\n] | "" )* ) "
    | \{ [ \t\r\f]* (?P<block> [^}]*? ) [ \t\r\f]* \}
    | (?P<number> [0-9]+ )
    | (?P<sign> [,()*] )
    """,
    re.VERBOSE,
)


@dataclass(frozen=True)
class Step:
    """One block of SQL, sent to its session as one simple query."""

    name: str
    sql: str
    session: int
    """The index of its session."""
    line: int


@dataclass(frozen=True)
class Session:
    """One connection of the test and its steps in the order of the file."""

    name: str
    setup: str | None
    steps: tuple[Step, ...]
    teardown: str | None


@dataclass(frozen=True)
class Marker:
    """What delays the report of a step's end."""

    step: Step | None = None
    """Not before this step is reported. None stands for `*`: report it as waiting, without a look."""
    notices: int | None = None
    """With a number: not before the session of `step` has delivered so many notices since the launch."""


@dataclass(frozen=True, eq=False)
class Place:
    """A step at one place of one permutation: the same step may stand in several."""

    step: Step
    markers: tuple[Marker, ...] = ()


@dataclass(frozen=True)
class Spec:
    """A whole file."""

    name: str
    setups: tuple[str, ...]
    teardown: str | None
    sessions: tuple[Session, ...]
    permutations: tuple[tuple[Place, ...], ...]
    """As listed in the file; empty where it lists none."""

    def orders(self) -> Iterator[tuple[Place, ...]]:
        """Yield the permutations to run: those listed, else every interleaving, sessions tried in the file's order."""
        if self.permutations:
            yield from self.permutations
        else:
            yield from interleavings(tuple(tuple(Place(step) for step in one.steps) for one in self.sessions))

    def unused(self) -> list[str]:
        """Return the names of steps that no listed permutation has, sorted by their bytes."""
        used = {place.step.name for order in self.permutations for place in order}
        names = [step.name for session in self.sessions for step in session.steps if step.name not in used]
        return sorted(names, key=lambda name: name.encode(*ENCODING)) if self.permutations else []


def interleavings(piles: tuple[tuple[Place, ...], ...]) -> Iterator[tuple[Place, ...]]:
    """Yield every merge of the piles that keeps the order within each: depth first, the first pile first."""
    if not any(piles):
        yield ()
    for index, pile in enumerate(piles):
        if pile:
            for rest in interleavings((*piles[:index], pile[1:], *piles[index + 1 :])):
                yield (pile[0], *rest)


def read(path: Path) -> Spec:
    """Return the spec in a file.

    Raises:
        ConfigurationError: The file cannot be read, or is not in the language; names the file and the line.
    """
    try:
        text = path.read_bytes().decode(*ENCODING)
    except OSError as error:
        raise ConfigurationError(
            f"Cannot read {path}.",
            f"{error.strerror}.",
            "Give the path of an isolation spec, such as tests/data/isolation/write-skew.spec",
            NOT_RUN,
        ) from None
    return parse(text, path.stem, str(path))


def parse(text: str, name: str = "spec", source: str = "spec") -> Spec:
    """Return the spec that a text holds; `source` is what an error calls it.

    Raises:
        ConfigurationError: It is not in the language; names the source and the line.
    """
    return _Parser(text, source).spec(name)


@dataclass(frozen=True)
class _Token:
    kind: str
    """A keyword, a sign, "name", "block", "number" or "end"."""
    text: str
    line: int


@dataclass(frozen=True)
class _Reference:
    """A step of a permutation, or of a marker, as written."""

    name: str
    line: int
    markers: tuple[tuple[str | None, int | None], ...] = ()


class _Parser:
    """Recursive descent, one token ahead."""

    def __init__(self, text: str, source: str) -> None:
        self._text = text
        self._source = source
        self._tokens = self._scan()
        self._next = next(self._tokens)

    def spec(self, name: str) -> Spec:
        setups = []
        while (block := self._block_after("setup")) is not None:
            setups.append(block)
        teardown = self._block_after("teardown")
        sessions = [self._session(0)]
        while self._next.kind == "session":
            sessions.append(self._session(len(sessions)))
        listed = []
        while self._accept("permutation"):
            references = [self._reference()]
            while self._next.kind == "name":
                references.append(self._reference())
            listed.append(references)
        self._expect("end")
        steps = self._by_name(sessions)
        permutations = tuple(self._link(references, steps) for references in listed)
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

    def _reference(self) -> _Reference:
        name = self._expect("name")
        markers = []
        if self._accept("("):
            markers.append(self._marker())
            while self._accept(","):
                markers.append(self._marker())
            self._expect(")")
        return _Reference(name.text, name.line, tuple(markers))

    def _marker(self) -> tuple[str | None, int | None]:
        if self._accept("*"):
            return None, None
        name = self._expect("name").text
        return name, int(self._expect("number").text) if self._accept("notices") else None

    def _by_name(self, sessions: list[Session]) -> dict[str, Step]:
        steps: dict[str, Step] = {}
        for step in (step for session in sessions for step in session.steps):
            if step.name in steps:
                self._fail(step.line, f'a second step is named "{step.name}"')
            steps[step.name] = step
        return steps

    def _link(self, references: list[_Reference], steps: dict[str, Step]) -> tuple[Place, ...]:
        here = {reference.name for reference in references}
        order = []
        for reference in references:
            line, name = reference.line, reference.name
            if name not in steps:
                self._fail(line, f'the permutation names a step "{name}", and there is none')
            markers = []
            for blocker, notices in reference.markers:
                if blocker is None:
                    markers.append(Marker())
                    continue
                if blocker not in here or blocker not in steps:
                    self._fail(line, f'"{name}" is to wait for "{blocker}", which is not in its permutation')
                if steps[blocker].session == steps[name].session:
                    self._fail(line, f'"{name}" is to wait for "{blocker}" of its own session')
                markers.append(Marker(steps[blocker], notices))
            order.append(Place(steps[name], tuple(markers)))
        return tuple(order)

    def _block_after(self, keyword: str) -> str | None:
        return self._expect("block").text if self._accept(keyword) else None

    def _accept(self, kind: str) -> bool:
        if self._next.kind != kind:
            return False
        self._expect(kind)
        return True

    def _expect(self, kind: str) -> _Token:
        token = self._next
        if token.kind != kind:
            found = "the end of the file" if token.kind == "end" else f'"{token.text}"'
            wanted = kind if kind in ("name", "block", "number") or kind in KEYWORDS else f'"{kind}"'
            self._fail(token.line, f"found {found} where {wanted if kind != 'end' else 'permutation'} should be")
        if kind != "end":
            self._next = next(self._tokens)
        return token

    def _scan(self) -> Iterator[_Token]:
        position, line = 0, 1
        while position < len(self._text):
            found = _TOKEN.match(self._text, position)
            if found is None:
                self._fail(line, self._unreadable(position))
            kind, text = str(found.lastgroup), found[str(found.lastgroup)]
            if kind == "word":
                yield _Token(text if text in KEYWORDS else "name", text, line)
            elif kind == "quoted":
                yield _Token("name", text.replace('""', '"'), line)
            elif kind != "space":
                yield _Token(text if kind == "sign" else kind, text, line)
            line += found[0].count("\n")
            position = found.end()
        while True:
            yield _Token("end", "", line)

    def _unreadable(self, position: int) -> str:
        first = self._text[position]
        if first == "{":
            return 'a block begins that no "}" ends'
        if first == '"':
            return "a quoted name does not end on its line"
        return f'unexpected character "{first}"'

    def _fail(self, line: int, why: str) -> NoReturn:
        raise ConfigurationError(
            f"{self._source} is not an isolation spec.",
            f"Line {line}: {why}.",
            "A file holds setup and teardown blocks, sessions with their steps, then permutations, in this order.",
            NOT_RUN,
        )
