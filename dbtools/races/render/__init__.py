"""Pictures of a run, drawn from its trace: text for a terminal or a log, an SVG image, a self-contained HTML page.

All three draw the same rows:

    rows       the picture as data: lanes (actors), tracks (sessions), rows (events)
    layout     makes the rows from a trace
    fold       shortens long runs of one actor's steps
    sanitize   makes any text safe to show, and counts its columns
    text, svg, html (with html_rows and page.css)   draw the rows
    differences   the rows of the database that are not those of a serial order
"""

from dbtools.races.render.differences import rows_that_differ
from dbtools.races.render.html import html
from dbtools.races.render.svg import svg
from dbtools.races.render.text import text

__all__ = ["html", "rows_that_differ", "svg", "text"]
