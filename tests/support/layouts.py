"""Projects as folders of a few small files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def lay_out(root: Path, files: Mapping[str, str | bytes]) -> Path:
    """Write the files below `root`, and return it; a name that ends with / is an empty folder."""
    for name, content in files.items():
        path = root / name
        if name.endswith("/"):
            path.mkdir(parents=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return root


def package(scripts: Mapping[str, str] | None = None, *dependencies: str, **more: Any) -> str:
    """Return a package.json."""
    return json.dumps({"scripts": scripts or {}, "devDependencies": dict.fromkeys(dependencies, "*"), **more})
