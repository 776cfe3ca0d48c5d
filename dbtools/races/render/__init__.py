"""A run, drawn from its trace: as text for terminals and logs, as an SVG image, as a self-contained page.

All three come of the same rows: picture_layout makes them of a trace (picture_rows says what they hold), picture_fold
shortens long ones, picture_words makes any text safe to show, and picture_text, picture_svg and picture_html draw.
"""

from dbtools.races.render.html import html
from dbtools.races.render.svg import svg
from dbtools.races.render.text import text

__all__ = ["html", "svg", "text"]
