"""Look at the site that nox -s docs has built: its pages, its search, and that it loads nothing from elsewhere."""

from __future__ import annotations

import json
import sys
from html.parser import HTMLParser
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SITE, PAGES = ROOT / "build" / "site", ROOT / "build" / "docs"
LOADS = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src"}
POINTERS = {"canonical", "prev", "next"}
"""Relations of a <link> that a browser does not load."""


class Resources(HTMLParser):
    """Collects what a browser loads for a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the address of what the element loads."""
        values = dict(attrs)
        if tag in LOADS and not POINTERS & set((values.get("rel") or "").split()):
            self.found.append(values.get(LOADS[tag]) or "")


def foreign(page: str) -> list[str]:
    """Return the addresses on other machines from which a page loads something."""
    resources = Resources()
    resources.feed(page)
    return [address for address in resources.found if "://" in address or address.startswith("//")]


def main() -> int:
    """Return the exit code: 1 where a page is missing or loads something from elsewhere."""
    assert foreign('<script src="https://example.org/x.js"></script><img src="race.png">') == [
        "https://example.org/x.js"
    ]
    pages = [path.relative_to(PAGES).with_suffix(".html").as_posix() for path in sorted(PAGES.rglob("*.md"))]
    index = json.loads((SITE / "search" / "search_index.json").read_text("utf-8"))
    searched = {entry["location"].partition("#")[0] for entry in index["docs"]}
    wrong = [f"{page} is not there" for page in pages if not (SITE / page).is_file()]
    wrong += [f"{page} is not found by the search" for page in pages if page not in searched]
    for path in sorted(SITE.rglob("*.html")):
        wrong += [f"{path.relative_to(SITE)} loads {address}" for address in foreign(path.read_text("utf-8"))]
    print(
        "\n".join(f"✗ {line}" for line in wrong) or f"✓ {len(pages)} pages in {SITE}; they load nothing from elsewhere"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
