"""Copies of the checkout as it is now, for what has to be built or changed aside."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def copy_tracked(folder: Path, *more: str) -> Path:
    """Copy the files that git tracks, and those that the options `more` of `git ls-files` add; return the folder."""
    listed = subprocess.run(["git", "ls-files", "-z", *more], cwd=ROOT, capture_output=True, check=True)
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder
