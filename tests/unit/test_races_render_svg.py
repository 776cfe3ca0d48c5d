"""Runs as an SVG image: well-formed, without references to other files, and no text overlaps or leaves the image."""

import itertools
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from xml.etree import ElementTree

import pytest
from hypothesis import given

from dbtools.races.render import svg
from dbtools.races.render.sanitize import columns, one_line
from dbtools.races.trace import Trace
from tests.support import traces

NAMES = {"svg", "title", "desc", "style", "rect", "g", "text", "path"}
ATTRIBUTES = {
    "width",
    "height",
    "viewBox",
    "role",
    "aria-labelledby",
    "id",
    "class",
    "x",
    "y",
    "rx",
    "d",
    "text-anchor",
}
SPACE = "{http://www.w3.org/XML/1998/namespace}space"
COLUMN_PX = 7.2
"""Width of a character of a monospaced font of 12 pixels: that of DejaVu, Menlo and Consolas, or a little more."""


def parsed(image: str) -> ElementTree.Element:
    root = ElementTree.fromstring(image.encode("utf-8"))  # noqa: S314 - our own
    for element in root.iter():
        element.tag = element.tag.removeprefix("{http://www.w3.org/2000/svg}")
    return root


def texts(root: ElementTree.Element) -> list[str]:
    return [element.text or "" for element in root.iter("text")]


def spans(root: ElementTree.Element) -> Iterator[tuple[float, float, float]]:
    """Yield the place of each text: its line, its left edge, its right edge."""
    for element in root.iter("text"):
        x, taken = float(element.attrib["x"]), columns(element.text or "") * COLUMN_PX
        start = x - taken if element.get("text-anchor") == "end" else x
        yield float(element.attrib["y"]), start, start + taken


def check(image: str) -> None:
    """Assert what holds for every image."""
    root = parsed(image)
    assert {element.tag for element in root.iter()} <= NAMES
    assert {name for element in root.iter() for name in element.attrib} <= {*ATTRIBUTES, SPACE}
    values = [value for element in root.iter() for value in element.attrib.values()]
    styles = [element.text or "" for element in root.iter("style")]  # a statement may say what it likes
    assert not re.search(r"url\(|@import|://", "\n".join(values + styles))
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    lines = defaultdict(list)
    for y, start, end in spans(root):
        lines[y].append((start, end))
        assert start >= 0
        assert end <= width
        assert 0 < y < height
    for line in lines.values():
        line.sort()
        assert all(before[1] <= after[0] for before, after in itertools.pairwise(line))
    ids = [element.attrib["id"] for element in root.iter() if "id" in element.attrib]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("make", traces.ALL)
@pytest.mark.parametrize("whole", [False, True])
def test_every_image_is_well_formed_and_nothing_overlaps(make: Callable[[], Trace], whole: bool) -> None:
    check(svg(make(), title="A title", token=traces.TOKEN, whole=whole))


@given(traces.random())
def test_every_run_can_be_drawn(trace: Trace) -> None:
    image = svg(trace, whole=True)
    check(image)
    ids = [element.get("id") for element in parsed(image).iter("g") if element.get("id")]
    assert ids == [f"s{step.number}" for step in trace.steps]


def test_a_statement_may_hold_an_address() -> None:
    tape = traces.Tape("a")
    tape.run("a", "SELECT 'https://example.com'", "url(://)")
    check(svg(tape.trace, whole=True))


def test_all_of_the_incident_is_in_its_image() -> None:
    root = parsed(svg(traces.incident(), title="Reset & seed", token=traces.TOKEN))
    assert root.findtext("title") == "Reset & seed"
    assert root.findtext("desc") == (
        "8 steps of 2 actors (A reset, B seed), 1 preemption, 0 waits. Fails: 23505 invoices_pkey, reset failed."
    )
    assert texts(root) == [
        "Reset & seed",
        "A reset",
        "B seed",
        *("1", "DROP TABLE IF EXISTS invoices"),
        *("2", "CREATE TABLE IF NOT EXISTS invoices (id int PRIMARY…"),
        *("3", "TRUNCATE invoices"),
        "⇄ preempted, B goes on",
        *("4", "· BEGIN"),
        *("5", "TRUNCATE invoices"),
        *("6", "INSERT INTO invoices (id) VALUES (1), (2),… → 5 rows"),
        *("7", "COMMIT"),
        "■ exit 0",
        *(
            "✗ 8",
            "INSERT INTO invoices (id) VALUES (1), (2), (3), (4)…",
            "✗ 23505 invoices_pkey: duplicate key value violates…",
        ),
        *("✗", "■ exit 1"),
        '✗ error 23505 invoices_pkey (step 8): duplicate key value violates unique constraint "invoices_pkey"',
        "✗ exit reset failed: exit status 1",
        f"invoke race.replay {traces.TOKEN}",
        "│ in a transaction   · not chosen by the schedule   ⇄ the turn is taken   ✗ a failure",
    ]


def test_an_arrow_is_drawn_to_each_session_that_is_waited_for() -> None:
    """C waits for A and B, to its left; B then waits for C, to its right. A session outside the run has no lane."""
    root = parsed(svg(traces.three()))
    tips = [e.attrib["d"] for e in root.iter("path") if e.get("class") == "tip"]
    assert ["left" if "l8 " in tip else "right" for tip in tips] == ["left", "left", "right"]
    assert any(text.startswith("waits for A, B, pid 4711 (psql)") for text in texts(root))
    assert sum(e.get("class") == "waiting" for e in root.iter("path")) > 3


def test_failures_without_a_step_are_shown() -> None:
    assert "✗ invariant balance-is-sum: 1 row breaks it: account 1 has 80, not 70" in texts(
        parsed(svg(traces.lost_update()))
    )
    assert any(
        text.startswith("Stalled, and proves nothing: seed has been in")
        for text in texts(parsed(svg(traces.stalled())))
    )
    assert "No step was run." in texts(parsed(svg(traces.empty())))


def test_600_steps_are_folded() -> None:
    root = parsed(svg(traces.long()))
    assert "… 148 more steps: 118 INSERT, 30 SELECT" in texts(root)
    assert float(root.attrib["height"]) < 1000
    numbers = [e.get("id") for e in parsed(svg(traces.long(), whole=True)).iter("g") if e.get("id")]
    assert numbers == [f"s{i}" for i in range(1, 601)]


def test_text_cannot_break_out() -> None:
    title = "</title><script>alert(1)</script>\x00\n]]>"
    image = svg(traces.hostile(), title=title)
    root = parsed(image)
    assert root.findtext("title") == one_line(title)
    assert "A <b>A&B</b>" in texts(root)
    assert "✗ invariant </style>: </title> second line" in texts(root)
    assert all(character.isprintable() or character in "\n\u200d" for character in image)
