"""What a run leaves to show others: Markdown or a page, and the time line of the lock."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from dbtools.checks.job import Result
from dbtools.checks.reader import Reads
from dbtools.checks.round import Round
from dbtools.checks.timeline import timelines
from dbtools.commands.evidence import prepare_evidence, write_evidence
from dbtools.errors import ConfigurationError
from tests.support.browser import PROGRAM, browser

DAY = "2026-11-23T12:00:"
WAITED = Result("seed", f"{DAY}02+00:00", f"{DAY}03+00:00", 2.0)
HELD_FIRST = Result("reset", f"{DAY}00+00:00", f"{DAY}02+00:00")
FAILED = Result("seed", error="could not connect")
ROUND = Round((WAITED, HELD_FIRST, FAILED), "digest", same_digest=True)


def test_evidence_is_markdown(tmp_path: Path) -> None:
    path = tmp_path / "reset.md"
    write_evidence(path, "invoke reset", {"profile": "dev"}, ["✓ Done"], 0)
    assert path.read_text("utf-8") == ("# invoke reset\n\n- profile: dev\n\n```text\n✓ Done\n=== EXIT: 0 ===\n```\n")


def test_a_page_holds_the_same_and_a_drawing(tmp_path: Path) -> None:
    path = tmp_path / "reset.html"
    write_evidence(path, "invoke <reset>", {"target": "a & b"}, ["✗ <Done>"], 6, "<svg></svg>")
    page = path.read_text("utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert "<h1>invoke &lt;reset&gt;</h1>" in page
    assert '<p class="bad"><strong>✗ Exit code 6</strong></p>' in page
    assert "<dt>target</dt><dd>a &amp; b</dd>" in page
    assert "<svg></svg>" in page
    assert "<pre>✗ &lt;Done&gt;\n=== EXIT: 6 ===</pre>" in page


def test_the_time_line_draws_waits_and_critical_sections_in_their_order() -> None:
    (image,) = re.findall("<svg.*</svg>", timelines([ROUND, Round((FAILED,), "digest", same_digest=True)]))
    root = ElementTree.fromstring(image)  # noqa: S314 - our own
    assert [title.text for title in root.iter("title")] == [
        "reset: waited 0.000 s, held the lock for 2.000 s",
        "seed: waited 2.000 s, held the lock for 1.000 s",
    ]
    bars = [(bar.attrib["class"], float(bar.attrib["x"]), float(bar.attrib["width"])) for bar in root.iter("rect")]
    start, middle, end = 90.0, 90 + 800 * 2 / 3, 890.0
    assert bars == [
        ("wait", start, 1.0),
        ("hold", start, pytest.approx(middle - start, abs=0.1)),
        ("wait", start, pytest.approx(middle - start, abs=0.1)),
        ("hold", pytest.approx(middle, abs=0.1), pytest.approx(end - middle, abs=0.1)),
    ]
    assert [text.text for text in root.iter("text")] == ["reset", "seed", "0 s", "3.000 s"]


def test_reads_are_drawn_below_as_high_as_they_took_long() -> None:
    start = 1795435200.0  # of DAY
    reads = Reads([(start + 1, 0.5), (start + 2, 1.0), (start + 9, 1.0)], ["42P01 no table"])
    (image,) = re.findall("<svg.*</svg>", timelines([dataclasses.replace(ROUND, reads=reads)]))
    root = ElementTree.fromstring(image)  # noqa: S314 - our own
    assert [title.text for title in root.iter("title")][2] == "4 reads, 1 failed, the longest took 1.000 s"
    assert [path.attrib["d"] for path in root.iter("path")] == ["M356.7 82v-20.0 M623.3 82v-40.0"]


def test_rounds_without_the_lock_have_no_time_line() -> None:
    assert timelines([Round((FAILED,), "digest", same_digest=True)]) == ""


@pytest.mark.skipif(PROGRAM is None, reason="no Chromium (Debian: apt-get install chromium)")
def test_a_browser_shows_the_page_whole(tmp_path: Path) -> None:
    path = tmp_path / "race.html"
    write_evidence(path, "invoke verify-concurrency", {"target": "x" * 300}, ["y" * 300], 0, timelines([ROUND]))
    with contextlib.ExitStack() as stack:
        try:
            chromium = stack.enter_context(browser(tmp_path / "profile"))
        except OSError as error:
            pytest.skip(f"{PROGRAM} does not start here: {error}")
        for width in (360, 1200):
            chromium.open(path.as_uri(), width)
            assert chromium.evaluate("document.documentElement.scrollWidth") <= width
            assert chromium.evaluate("document.querySelectorAll('svg rect').length") == 4
            assert chromium.requests == [path.as_uri()]
            assert chromium.complaints == []


def test_evidence_gets_its_folder_or_is_refused_before_the_run(tmp_path: Path) -> None:
    prepare_evidence(tmp_path / "a" / "b" / "reset.md")
    assert (tmp_path / "a" / "b").is_dir()
    for place, why in ((tmp_path / "a", "Is a directory"), (tmp_path / "a/b/reset.md/x.md", "File exists")):
        with pytest.raises(ConfigurationError) as caught:
            prepare_evidence(place)
        assert str(caught.value) == (
            f"The evidence cannot be written to {place}.\n{why}. Nothing was changed.\nName another file."
        )
