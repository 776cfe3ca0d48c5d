"""What is left of a run to show others: its facts and its transcript, as Markdown or as one page of HTML."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from dbtools.errors import UNCHANGED, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_HTML = (".html", ".htm")
_STYLE = """
:root { color-scheme: light dark; --ink: #1c2128; --page: #fff; --faint: #5c6570; --line: #dfe3e8; --wait: #c9ced6;
  --hold: #1458b8; --bad: #b3201c; --good: #1a6b35; }
@media (prefers-color-scheme: dark) { :root { --ink: #e3e7ec; --page: #14181d; --faint: #98a2ae; --line: #2c333c;
  --wait: #4a525c; --hold: #7db4ff; --bad: #ff938b; --good: #74d391; } }
body { margin: 2rem auto; max-width: 60rem; padding: 0 1rem; color: var(--ink); background: var(--page);
  font: 15px/1.5 system-ui, "Liberation Sans", Arial, sans-serif; overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; }
dt { color: var(--faint); } dd { margin: 0; }
pre { font: 13px/1.45 ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; overflow-x: auto;
  border: 1px solid var(--line); padding: .75rem; overflow-wrap: normal; }
svg { width: 100%; height: auto; font: 11px system-ui, Arial, sans-serif; } svg text { fill: var(--ink); }
svg .faint { fill: var(--faint); } svg .wait { fill: var(--wait); } svg .hold { fill: var(--hold); }
svg .reads { stroke: var(--hold); opacity: .6; }
svg .line { stroke: var(--line); } .bad { color: var(--bad); } .good { color: var(--good); }
"""


def prepare_evidence(path: Path) -> None:
    """Make the folder of a transcript, and see that the file can be written: before the run, not after it.

    Raises:
        ConfigurationError: It cannot.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a"):
            pass
    except OSError as error:
        raise ConfigurationError(
            f"The evidence cannot be written to {path}.", f"{error.strerror}.", "Name another file.", UNCHANGED
        ) from None


def write_evidence(
    path: Path, title: str, facts: Mapping[str, str], transcript: Sequence[str], code: int, drawing: str = ""
) -> None:
    """Write a transcript: as a page where the file's name ends in .html, else as Markdown, fit for a pull request.

    A page is one file that loads and runs nothing. It shows `drawing` too, which is HTML; Markdown has no place for it.
    """
    lines = [*transcript, f"=== EXIT: {code} ==="]
    text = _page(title, facts, lines, code, drawing) if path.suffix in _HTML else _markdown(title, facts, lines)
    path.write_text(text, "utf-8", errors="replace")


def _markdown(title: str, facts: Mapping[str, str], lines: Sequence[str]) -> str:
    named = [f"- {name}: {value}" for name, value in facts.items()]
    return "\n".join([f"# {title}", "", *named, "", "```text", *lines, "```", ""])


def _page(title: str, facts: Mapping[str, str], lines: Sequence[str], code: int, drawing: str) -> str:
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
            f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>",
            f"<h1>{escape(title)}</h1>",
            f'<p class="{"bad" if code else "good"}"><strong>{"✗" if code else "✓"} Exit code {code}</strong></p>',
            "<dl>",
            *(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts.items()),
            "</dl>",
            drawing,
            "<h2>Transcript</h2>",
            f"<pre>{escape(chr(10).join(lines))}</pre>",
            "</body></html>",
            "",
        ]
    )
