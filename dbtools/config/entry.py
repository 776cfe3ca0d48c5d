"""One entry of the table [tool.dbtools]: its key and value, checks of it, and the error that refuses it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dbtools.db.secrets import mask
from dbtools.errors import UNCHANGED, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

PLACEHOLDERS = ("url", "host", "port", "user", "password", "dbname")
"""What a value of `env` may name in braces: the database that a step works on."""
PLACEHOLDER = re.compile(r"\{([A-Za-z_]\w*)\}")
OURS = ("DBTOOLS_LEAD_", "DBTOOLS_RECORD", "DBTOOLS_STEP")
"""How the variables begin by which a step is led to its database."""
MAX_SHOWN_CHARACTERS = 80
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]B)")
_UNIT_BYTES = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


@dataclass(frozen=True)
class Entry:
    """A value of the table. `key` is what people call its place, such as "migrate" or "seed, step 2, timeout"."""

    path: Path
    """The pyproject.toml."""
    key: str
    value: Any

    def below(self, key: str, value: object) -> Entry:
        """Return the entry of something in this value."""
        return Entry(self.path, f"{self.key}, {key}", value)

    def refuse(self, wanted: str, example: str) -> ConfigurationError:
        """Return the error that says what is wanted instead of the value."""
        shown = repr(self.value)
        if len(shown) > MAX_SHOWN_CHARACTERS:
            shown = f"{shown[:MAX_SHOWN_CHARACTERS]}…"
        return ConfigurationError(
            f"[tool.dbtools] {self.key} in {self.path} cannot be {mask(shown)}.",
            f"Wanted {wanted}.",
            f"For example: {example}",
            UNCHANGED,
        )

    def check_keys(self, known: Collection[str]) -> None:
        """Refuse a key of this table that is not one of `known`."""
        for key in self.value:
            if key not in known:
                raise ConfigurationError(
                    f"[tool.dbtools] {self.key} in {self.path} has an unknown key: {key!r}.",
                    f"Known keys: {', '.join(sorted(known))}.",
                    "Correct or remove it.",
                    UNCHANGED,
                )

    def text(self, wanted: str, example: str) -> str:
        """Return the value if it is a text that is not empty."""
        if not isinstance(self.value, str) or not self.value or "\0" in self.value:
            raise self.refuse(wanted, example)
        return self.value

    def texts(self, wanted: str, example: str) -> tuple[str, ...]:
        """Return the values of a list of texts, none of them empty."""
        if not isinstance(self.value, list):
            raise self.refuse(wanted, example)
        for item in self.value:
            if not isinstance(item, str) or not item or "\0" in item:
                raise self.refuse(wanted, example)
        return tuple(self.value)

    def whole_number(self, example: str, *, low: int | None = None, high: int | None = None) -> int:
        """Return the value if it is a whole number from `low` to `high`."""
        value = self.value
        within = f" from {low} to {high}" if high is not None else "" if low is None else f" of at least {low}"
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.refuse(f"a whole number{within}", example)
        if (low is not None and value < low) or (high is not None and value > high):
            raise self.refuse(f"a whole number{within}", example)
        return value

    def seconds(self, example: str, *, positive: bool = False) -> float:
        """Return the value if it is a number of seconds: 0 or more, or with `positive` more than 0."""
        value = self.value
        fits = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < float("inf")
        if not fits or (positive and not value):
            raise self.refuse(f"a number of seconds, {'more than 0' if positive else '0 or more'}", example)
        return float(value)

    def size_bytes(self, example: str) -> int:
        """Return the bytes that a text such as "500 MB" stands for."""
        found = _SIZE.fullmatch(self.value) if isinstance(self.value, str) else None
        if found is None:
            raise self.refuse(f"a text of a number and one of {', '.join(_UNIT_BYTES)}", example)
        return int(float(found[1]) * _UNIT_BYTES[found[2]])

    def variables(self) -> Mapping[str, str]:
        """Return the value if it is a table of variables, whose placeholders are all known."""
        example = 'env = { POSTGRES_DB = "{dbname}" }'
        if not isinstance(self.value, dict):
            raise self.refuse("a table of variables and their values", example)
        for name, value in self.value.items():
            entry = self.below(name, value)
            if not name or "=" in name or "\0" in name:
                raise self.refuse("names that a variable can have", example)
            if name.startswith(OURS):
                raise entry.refuse("a variable of the project: dbtools leads the step by this one", example)
            if not isinstance(value, str) or "\0" in value:
                raise entry.refuse("a text, in quotes", example)
            for placeholder in PLACEHOLDER.findall(value):
                if placeholder not in PLACEHOLDERS:
                    known = " ".join(f"{{{known}}}" for known in PLACEHOLDERS)
                    raise entry.refuse(f"no other placeholders than {known}, and {{{placeholder}}} is none", example)
        return dict(self.value)
