"""Runs as a page: it needs no other file, runs nothing, holds every step once, and has its parts in their places."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser

import pytest
from hypothesis import given

from dbtools.races.render import html
from dbtools.races.render.sanitize import printable
from dbtools.races.trace import Trace
from tests.support import traces

VOID = {"meta"}
DRAWN = {"svg", "rect"}
TEXT = {"h1", "h2", "p", "a", "span", "b", "code", "pre", "title"}
BOXES = {"html", "head", "style", "body", "header", "nav", "main", "section", "div", "ol", "ul", "li", "details"}
NAMES = {*VOID, *DRAWN, *TEXT, *BOXES, "summary"}
ATTRIBUTES = {"lang", "charset", "name", "content", "http-equiv", "class", "id", "style", "href", "tabindex"}
ATTRIBUTES |= {"aria-hidden", "aria-label", "viewbox", "width", "height", "x", "y", "preserveaspectratio"}


@dataclass
class Node:
    """An element of a page."""

    name: str
    attributes: dict[str, str] = field(default_factory=dict)
    parts: "list[Node | str]" = field(default_factory=list)

    def __iter__(self) -> "Iterator[Node]":
        yield self
        for part in self.parts:
            if isinstance(part, Node):
                yield from part

    def all(self, name: str, class_: str = "") -> "list[Node]":
        return [n for n in self if n.name == name and class_ in ["", *n.attributes.get("class", "").split()]]

    @property
    def read(self) -> str:
        """The text that a screen reader reads while nothing is opened."""
        hidden = "aria-hidden" in self.attributes or self.attributes.get("class") == "whole"
        parts = (part if isinstance(part, str) else part.read for part in self.parts)
        return "" if hidden else "".join(parts)

    @property
    def text(self) -> str:
        return "".join(part if isinstance(part, str) else part.text for part in self.parts)


class Page(HTMLParser):
    """Reads a page into a tree and asserts that its elements are closed in the right order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.root = Node("")
        self._open = [self.root]
        self.feed(page)
        self.close()
        assert self._open == [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs)
        node = Node(tag, {name: value or "" for name, value in attrs})
        self._open[-1].parts.append(node)
        if tag not in VOID:
            self._open.append(node)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in DRAWN
        self.handle_starttag(tag, attrs)
        self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop().name == tag

    def handle_data(self, data: str) -> None:
        self._open[-1].parts.append(data)

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)


def parsed(trace: Trace, title: str = "A title", token: str = traces.TOKEN) -> Node:
    """Return the page of a trace as a tree, after asserting what holds for every page."""
    page = html(trace, title, token)
    root = Page(page).root
    assert {node.name for node in root} - {""} <= NAMES
    assert {name for node in root for name in node.attributes} <= ATTRIBUTES
    ids = [node.attributes["id"] for node in root if "id" in node.attributes]
    assert len(ids) == len(set(ids))
    assert all(node.attributes["href"].removeprefix("#") in ids for node in root.all("a"))
    (style,) = root.all("style")
    assert not re.search(r"url\(|@import|://|<", style.text)
    assert all(re.fullmatch(r"[-: 0-9a-z.,();]+", n.attributes["style"]) for n in root if "style" in n.attributes)
    assert all(character.isprintable() or character in "\n\t\u200d" for character in page)
    return root


def steps_of(root: Node) -> dict[str, Node]:
    """Return the rows of the steps by their ids, in the order of the page."""
    return {n.attributes["id"]: n for n in root.all("li") if "id" in n.attributes}


def check(trace: Trace) -> None:
    """Assert that every step is in its page once, in the order of the run, with its whole statement."""
    steps = steps_of(parsed(trace))
    assert list(steps) == [f"s{step.number}" for step in trace.steps]
    for step, row in zip(trace.steps, steps.values(), strict=True):
        (whole,) = row.all("pre")
        assert whole.text == f"\n{printable(step.sql)}"


@pytest.mark.parametrize("make", traces.ALL)
def test_every_step_is_in_its_page_once(make: Callable[[], Trace]) -> None:
    check(make())


@given(traces.random())
def test_every_run_can_be_drawn(trace: Trace) -> None:
    check(trace)


def test_the_page_forbids_what_it_does_not_need() -> None:
    metas = [n.attributes for n in parsed(traces.incident()).all("meta")]
    assert {
        "http-equiv": "Content-Security-Policy",
        "content": "default-src 'none'; style-src 'unsafe-inline'",
    } in metas


def test_the_head_says_what_is_wrong_and_where() -> None:
    root = parsed(traces.incident(), "Reset & seed")
    assert root.all("title")[0].text == root.all("h1")[0].text == "Reset & seed"
    (verdict,) = root.all("p", "verdict")
    assert verdict.text == "✗ Fails: 23505 invoices_pkey, reset failed. Step 8"
    assert [a.attributes["href"] for a in verdict.all("a")] == ["#s8"]
    (well,) = parsed(traces.deadlock()).all("p", "verdict")
    assert well.text == "✓ No failure."
    (stalled,) = parsed(traces.stalled()).all("p", "verdict")
    assert stalled.text == (
        "Stalled, and proves nothing: seed has been in SELECT pg_sleep(3600) for 30 s and waits for no lock"
    )
    (none,) = parsed(traces.empty()).all("p", "verdict")
    assert none.text == "No step was run."


def test_the_rows_can_be_read_without_the_drawing() -> None:
    """The page without its drawing, as a screen reader reads it."""
    (rows,) = parsed(traces.wait()).all("ol", "rows")
    assert [" ".join(row.read.split()) for row in rows.all("li")] == [
        "step 1 one: BEGIN",
        "step 2 one: INSERT INTO t VALUES (1) → 1 row",
        "one: ⇄ preempted, B goes on",
        "step 3 two: DELETE FROM t → 0 rows",
        "step 4 two: INSERT INTO t VALUES (1)",
        "two: waits for A: transaction",
        "step 5 one: SELECT count(*) FROM t → 1 row",
        "step 6 one: COMMIT",
        "one: ■ exit 0",
        '✗ two: ✗ 23505 t_pkey: duplicate key value violates unique constraint "t_pkey"',
        "✗ two: ■ exit 1",
    ]


def test_a_step_that_failed_is_marked_in_words_and_signs() -> None:
    row = steps_of(parsed(traces.incident()))["s8"]
    assert row.all("a", "no")[0].text == "step ✗ 8"
    assert row.all("p", "error")[0].text == f"✗ 23505 invoices_pkey: {traces.DUPLICATE}"


def test_an_error_that_is_no_failure_has_another_sign() -> None:
    rows = parsed(traces.deadlock()).all("li", "result")
    assert rows[0].all("p", "error")[0].text == "! 40P01: deadlock detected"
    assert "broken" not in rows[0].attributes["class"]


def test_a_statement_opens_to_all_that_is_known_of_its_step() -> None:
    (whole,) = steps_of(parsed(traces.deadlock()))["s6"].all("div", "whole")
    assert [part.text for part in whole.parts if isinstance(part, Node)] == [
        "\nUPDATE accounts SET balance = balance - 1 WHERE id = 1",
        "session right · 40P01 · deadlock detected · right waits for left, left waits for right. · "
        "then in a failed transaction",
    ]


def test_a_wait_points_to_each_session_that_it_waits_for() -> None:
    waits = parsed(traces.three()).all("li", "wait")
    assert [len(wait.all("span", "arrow") + wait.all("span", "tip")) for wait in waits] == [2, 1, 0]
    assert [wait.all("span", "words")[0].text for wait in waits] == [
        "waits for A, B, pid 4711 (psql): AccessExclusiveLock on invoices",
        "waits for C: advisory lock 1196576591",
        "waits for pid 4711 (psql): AccessExclusiveLock on invoices",
    ]


def test_failures_replay_and_output_are_below_the_lanes() -> None:
    sections = parsed(traces.incident()).all("section")
    assert [section.all("h2")[0].text for section in sections] == ["What is wrong", "Replay", "How the programs ended"]
    assert [item.text for item in sections[0].all("li")] == [
        f"✗ error 23505 invoices_pkey (step 8): {traces.DUPLICATE}",
        "✗ exit reset failed: exit status 1",
    ]
    assert sections[1].all("code")[0].text == f"invoke race.replay {traces.TOKEN}"
    assert sections[2].all("pre")[0].text.endswith(f"\npsycopg.errors.UniqueViolation: {traces.DUPLICATE}")
    (broken,) = parsed(traces.lost_update()).all("li", "bad")
    assert broken.text == "✗ invariant balance-is-sum: 1 row breaks it: account 1 has 80, not 70"


def test_600_steps_are_folded_and_have_an_overview() -> None:
    root = parsed(traces.long())
    shown = [n for n in root.all("ol", "rows")[0].parts if isinstance(n, Node)]
    assert len(shown) < 40
    folds = [n for n in shown if n.attributes["class"] == "fold"]
    assert [fold.all("span", "words")[0].text for fold in folds] == [
        "148 more steps: 118 INSERT, 30 SELECT",
        "144 more steps: 116 INSERT, 28 SELECT",
        "292 more steps: 234 INSERT, 58 SELECT",
    ]
    assert [len(fold.all("li", "step")) for fold in folds] == [148, 144, 292]
    links = root.all("nav", "overview")[0].all("a")
    assert [link.all("title")[0].text for link in links] == [
        "A reset: steps 1 to 299",
        "B seed: steps 300 to 597",
        "A reset: steps 598 to 598",
        "B seed: steps 599 to 599",
        "A reset: steps 600 to 600",
        "✗ 23505 invoices_pkey",
    ]
    assert not parsed(traces.incident()).all("nav")


def test_text_cannot_break_out() -> None:
    root = parsed(traces.hostile(), "</title><script>alert(1)</script>")
    assert root.all("title")[0].text == "</title><script>alert(1)</script>"
    assert root.all("div", "head")[0].text == "A <b>A&B</b>"
    assert root.all("section")[2].all("pre")[0].text == "\n<img src=x onerror=alert(1)>\ncleared    tab"


def test_a_huge_statement_is_cut_and_says_so() -> None:
    tape = traces.Tape("a")
    tape.run("a", "SELECT '" + "x" * 300_000 + "'", "SELECT 1")
    page = html(tape.trace, "A title", "")
    assert len(page) < 230_000
    assert "… and 100,009 more characters" in page
