"""Running programs to their end, and ending them politely when this one is interrupted."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

LAST_LINES = 15
"""How much of a failed program's output is shown."""
PATIENCE_S = 30.0
"""How long a program may take to end after SIGTERM."""


class Failed(Exception):
    """A program failed, or what the server says is not what it has to say."""


def run(words: Sequence[str], folder: Path, environ: Mapping[str, str] | None = None, *, name: str = "") -> str:
    """Return the standard output of a program that ran to its end in `folder`. Errors call it `name`.

    Raises:
        Failed: It ended with another exit code than 0; with the end of its output.
    """
    try:
        process = subprocess.Popen(
            words,
            cwd=folder,
            env=os.environ if environ is None else environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    except OSError as error:
        raise Failed(f"{name or words[0]}: {error}") from error
    try:
        output, errors = process.communicate()
    except BaseException:
        process.terminate()  # invoke ends its steps and drops its scratch database
        try:
            process.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
        raise
    if process.returncode:
        last = "\n".join((output + errors).strip().splitlines()[-LAST_LINES:])
        raise Failed(f"{name or ' '.join(words)}: exit {process.returncode}\n{last}")
    return output
