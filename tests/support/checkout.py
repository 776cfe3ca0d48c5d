"""A folder with files, a record of what a build read of them, and a cache: to describe and compare its inputs."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dbtools.build.comparison import difference
from dbtools.build.digests import Digests
from dbtools.build.inputs import Inputs, describe, list_inputs
from dbtools.build.moment import Moment
from tests.support.waiting import until


def _plain_environment() -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1", "LANG": "C.UTF-8"}


@dataclass
class Checkout:
    """A project's folder; variables are those of `environ` alone."""

    folder: Path
    environ: dict[str, str] = field(default_factory=_plain_environment)
    patterns: tuple[str, ...] | None = None
    names: tuple[str, ...] | None = None
    ignore: tuple[str, ...] = ()

    @property
    def root(self) -> Path:
        return self.folder / "project"

    @property
    def cache(self) -> Path:
        return self.folder / "cache"

    @property
    def digests(self) -> Digests:
        return Digests(self.root, self.cache)

    def write(self, name: str, content: str = "") -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        return path

    def git(self, *words: str, cwd: Path | None = None) -> None:
        identity = ("-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "protocol.file.allow=always")
        subprocess.run(
            ["git", *identity, *words], cwd=cwd or self.root, env=self.environ, check=True, capture_output=True
        )

    def record(self, *lines: Mapping[str, object]) -> Path:
        path = self.folder / "record"
        path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
        return path

    def describe(self, record: Path | None = None, *, opaque: bool = False) -> Inputs:
        return describe(
            self.root,
            self.digests,
            patterns=self.patterns,
            names=self.names,
            record=record,
            opaque=opaque,
            environ=self.environ,
            ignore=self.ignore,
        )

    def difference(self, inputs: Inputs) -> str:
        kept = Inputs.from_json(json.loads(json.dumps(inputs.to_json())))
        assert kept == inputs
        return difference(
            kept,
            self.root,
            self.digests,
            patterns=self.patterns,
            names=self.names,
            environ=self.environ,
            ignore=self.ignore,
        )

    def moment(self) -> Moment:
        """Look at the files, once the last change lies so far back that the next one shows as another time."""
        ended = time.time_ns()
        until(lambda: time.time_ns() > ended + 100_000_000)
        return Moment.take(str(self.root), list_inputs(self.root, self.patterns, self.environ))
