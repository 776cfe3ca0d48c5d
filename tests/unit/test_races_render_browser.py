"""The page in a real browser: it loads nothing, logs nothing, fits its window, and is readable."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dbtools.races.render import html, svg
from dbtools.races.trace import Trace
from tests.support import traces
from tests.support.browser import PROGRAM, Browser, browser

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="no Chromium (Debian: apt-get install chromium)")

OVERFLOWING = """
[...document.querySelectorAll('body *')].filter(e => {
  const box = e.getBoundingClientRect();
  if (!box.width || !box.height || e.closest('.hidden')) return false;
  if (box.right > innerWidth + 0.5 || box.left < -0.5) return true;
  const lane = e.closest('.say')?.getBoundingClientRect();
  return lane && !e.classList.contains('tip') && (box.right > lane.right + 0.5 || box.left < lane.left - 4.5);
}).map(e => e.outerHTML.slice(0, 200))
"""
"""Elements that reach out of the window, or out of their lane."""

PALE = """
(() => {
  const rgb = color => color.match(/[0-9.]+/g).map(Number);
  const light = color => {
    const [r, g, b] = rgb(color).slice(0, 3).map(c => (c /= 255) <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b;
  };
  const behind = e => {
    for (; e; e = e.parentElement) {
      const color = getComputedStyle(e).backgroundColor;
      if ((rgb(color)[3] ?? 1) === 1) return color;
    }
    throw new Error('no background');
  };
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), pale = [];
  while (walk.nextNode()) {
    const e = walk.currentNode.parentElement;
    if (!walk.currentNode.data.trim() || !e.checkVisibility() || e.closest('svg, .hidden')) continue;
    const [a, b] = [light(getComputedStyle(e).color), light(behind(e))].sort((x, y) => y - x);
    if ((a + .05) / (b + .05) < 4.5) pale.push(`${(a + .05) / (b + .05)}: ${e.outerHTML.slice(0, 200)}`);
  }
  return pale;
})()
"""
"""Text with less contrast than 4.5 : 1, the minimum of WCAG's level AA."""


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with contextlib.ExitStack() as stack:
        try:
            started = stack.enter_context(browser(tmp_path_factory.mktemp("chromium")))
        except OSError as error:
            pytest.skip(f"{PROGRAM} does not start here: {error}")
        yield started


@pytest.fixture
def page(tmp_path: Path) -> Callable[[Trace], str]:
    """Write the page of a trace and return its address."""

    def write(trace: Trace) -> str:
        file = tmp_path / "page.html"
        file.write_text(html(trace, "Reset against seed", traces.TOKEN), "utf-8")
        return file.as_uri()

    return write


@pytest.mark.parametrize("width", [1280, 420, 320])
@pytest.mark.parametrize("make", traces.ALL)
def test_it_fits_and_requests_nothing(
    chromium: Browser, page: Callable[[Trace], str], make: Callable[[], Trace], width: int
) -> None:
    url = page(make())
    chromium.open(url, width)
    assert chromium.evaluate("innerWidth") == width
    assert chromium.evaluate("document.documentElement.scrollWidth") <= width
    assert chromium.evaluate(OVERFLOWING) == []
    chromium.evaluate("document.querySelectorAll('details').forEach(e => e.open = true)")
    assert chromium.evaluate("document.documentElement.scrollWidth") <= width
    assert chromium.evaluate(OVERFLOWING) == []
    assert chromium.requests == [url]
    assert chromium.complaints == []


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("make", [traces.incident, traces.three, traces.deadlock, traces.stalled])
def test_all_text_has_contrast(
    chromium: Browser, page: Callable[[Trace], str], make: Callable[[], Trace], *, dark: bool
) -> None:
    chromium.open(page(make()), 1280, dark=dark)
    chromium.evaluate("document.querySelectorAll('details').forEach(e => e.open = true)")
    assert chromium.evaluate("matchMedia('(prefers-color-scheme: dark)').matches") is dark
    assert chromium.evaluate(PALE) == []


def test_injected_code_does_not_run(chromium: Browser, page: Callable[[Trace], str]) -> None:
    trace = traces.hostile()
    chromium.open(page(trace), 1280)
    assert chromium.evaluate("document.querySelectorAll('script, img, i, link, iframe').length") == 0
    assert chromium.evaluate("document.querySelector('#s6 .error').textContent") == (
        "✗ 22012: <i>division by zero</i>␛]0;x␇"
    )
    chromium.evaluate("document.body.append(Object.assign(document.createElement('script'), {text: 'window.ran = 1'}))")
    assert chromium.evaluate("window.ran === undefined")
    assert len(chromium.complaints) == 1
    assert "Content Security Policy" in chromium.complaints[0]


def test_a_link_to_a_folded_step_opens_the_fold(chromium: Browser, page: Callable[[Trace], str]) -> None:
    url = page(traces.long())
    chromium.open(url, 1280)
    assert not chromium.evaluate("document.querySelector('#s100').checkVisibility()")
    chromium.open(f"{url}#s100", 1280)
    assert chromium.evaluate("document.querySelector('#s100').checkVisibility()")
    assert chromium.evaluate(
        "(() => { const box = document.querySelector('#s100').getBoundingClientRect();"
        " const head = document.querySelector('.heads').getBoundingClientRect();"
        " return box.top >= head.bottom && box.bottom <= innerHeight })()"
    )


@pytest.mark.parametrize("make", traces.ALL)
def test_the_image_is_drawn_within_its_edges(chromium: Browser, tmp_path: Path, make: Callable[[], Trace]) -> None:
    """With the fonts of this machine. An image is opened as XML, so this also checks that it is well-formed."""
    file = tmp_path / "image.svg"
    file.write_text(svg(make(), title="Reset against seed", token=traces.TOKEN), "utf-8")
    chromium.open(file.as_uri(), 1280)
    assert chromium.evaluate("document.querySelector('parsererror') === null")
    assert (
        chromium.evaluate(
            "(() => { const {width, height} = document.documentElement.viewBox.baseVal;"
            " return [...document.querySelectorAll('text')].filter(e => { const box = e.getBBox();"
            " return box.x < 0 || box.y < 0 || box.x + box.width > width || box.y + box.height > height })"
            " .map(e => e.textContent) })()"
        )
        == []
    )
    assert chromium.requests == [file.as_uri()]
    assert chromium.complaints == []
