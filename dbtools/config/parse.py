"""Values of options and variables, from their text."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from dbtools.errors import UNCHANGED, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping


def parse_bool(name: str, environ: Mapping[str, str]) -> bool:
    """Return the boolean variable `name`. Unset and empty are false.

    Raises:
        ConfigurationError: Its value is neither true/1/yes/on nor false/0/no/off.
    """
    text = environ.get(name, "").strip().lower()
    if text in {"true", "1", "yes", "on"}:
        return True
    if text in {"", "false", "0", "no", "off"}:
        return False
    raise ConfigurationError(
        f"{name} is neither true nor false.",
        f"It is {text!r}.",
        f"Set {name}=true or {name}=false, or unset it.",
        UNCHANGED,
    )


def parse_number(name: str, text: str, *, low: float, high: float = float("inf"), whole: bool = True) -> float:
    """Return the number in `text`: from `low` to `high`, and without `whole` perhaps a fraction.

    Raises:
        ConfigurationError: It is not such a number. The message names the option `name`.
    """
    try:
        value = float(int(text)) if whole else float(text)
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        limit = f"of at least {low:g}" if high == float("inf") else f"from {low:.0f} to {high:.0f}"
        raise ConfigurationError(
            f"{name} is not a number, or out of range: {text!r}.",
            f"Wanted a {'whole number' if whole else 'number'} {limit}.",
            f"For example: {name} {max(low, 10):g}",
            UNCHANGED,
        )
    return value


def parse_shard(text: str, environ: Mapping[str, str] = os.environ) -> tuple[int, int]:
    """Return the number of a part, from 1 on, and how many parts there are, from "3/8"; "" is the whole.

    In "job/8" the number is that of this pod of an Indexed Job of Kubernetes, which counts them from 0.

    Raises:
        ConfigurationError: It names no part, or JOB_COMPLETION_INDEX does not say which.
    """
    found = re.fullmatch(r"(job|[0-9]{1,6})/([0-9]{1,6})", text or "1/1")
    number, of = found.groups() if found else ("0", "0")
    if number == "job":
        index = environ.get("JOB_COMPLETION_INDEX", "")
        if not re.fullmatch("[0-9]{1,6}", index):
            raise ConfigurationError(
                f"--shard {text} does not say which shard.",
                f"JOB_COMPLETION_INDEX is {index!r}; an Indexed Job of Kubernetes sets it to a number.",
                "Say the number: --shard 1/8",
                UNCHANGED,
            )
        number = str(int(index) + 1)
    if not 1 <= int(number) <= int(of):
        raise ConfigurationError(
            f"--shard cannot be {text!r}.",
            "It takes the number of the shard, from 1 on, and how many there are.",
            "For example, the third of eight: --shard 3/8",
            UNCHANGED,
        )
    return int(number), int(of)
