"""The table [tool.dbtools] as TOML."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def text(table: Mapping[str, Any], guesses: Mapping[str, str]) -> str:
    """Return the table's lines. A key that is a guess has the file that it was guessed from behind it."""
    lines = [
        line(key, value) + (f"  # guessed from {guesses[key]}" if key in guesses else "")
        for key, value in table.items()
    ]
    return "\n".join(("[tool.dbtools]", *lines, ""))


def line(key: str, value: Any) -> str:
    """Return a key and its value."""
    return f"{key} = {_write(value)}"


def _write(value: Any) -> str:
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{_key(key)} = {_write(item)}' for key, item in value.items())} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(_write, value))}]"
    return json.dumps(value, ensure_ascii=False)


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else json.dumps(key, ensure_ascii=False)
