"""Run Python programs of a project as a step does: led to one database, their reads recorded."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import dbtools.build

LEAD = Path(dbtools.build.__file__).parent / "lead"
HANG_S = 120
"""Seconds after which a program hangs: far more than one takes on a busy machine."""


def run_led(
    words: Sequence[str],
    cwd: Path,
    *,
    url: str | None = None,
    record: Path | None = None,
    fence: int | None = None,
    environment: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run this Python with `words` in `cwd`. Where `url` is None, it is not led."""
    ours = {"DBTOOLS_LEAD_URL": url, "DBTOOLS_LEAD_FENCE": fence, "DBTOOLS_RECORD": record}
    given = {name: str(value) for name, value in ours.items() if value is not None}
    return subprocess.run(
        [sys.executable, *words],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(LEAD), "PYTHONDONTWRITEBYTECODE": ""} | given | dict(environment or {}),
        text=True,
        capture_output=True,
        timeout=HANG_S,
    )


def read_record(path: Path) -> dict[str, list[Any]]:
    """Return what a record holds, by kind."""
    found: dict[str, list[Any]] = {}
    for line in path.read_text("utf-8").splitlines():
        for key, value in json.loads(line).items():
            found.setdefault(key, []).append(value)
    return found
