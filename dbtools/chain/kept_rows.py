"""The generated rows of earlier runs, kept in the project's cache: the same rows need not be computed twice.

`Application.generate` is a pure function of its three arguments. So the rows of a profile, seed and day can be others
only if the application is another one: the files that its import and its work opened, the folders that they listed, and
the installed packages. These are watched while it works, and compared before what was kept is used again. Where they
are not known, nothing is kept: part of the application was imported before it was watched, or it started another
program or opened a connection, or a file changed meanwhile.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dbtools
from dbtools.build import pepper
from dbtools.build.comparison import difference
from dbtools.build.digests import Digests
from dbtools.build.folders import relative
from dbtools.build.inputs import Inputs
from dbtools.build.lead.files import Files
from dbtools.build.lead.record import Record
from dbtools.build.store import open_store
from dbtools.chain import copy
from dbtools.chain.copy import CopyData, EncodedTable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dbtools.application import Application
    from dbtools.config import Project, SeedPlan

FORMAT = 1
MAX_KEPT = 8
MAX_BYTES = 64 * 1024**2
"""Of the rows of one run: what is kept of all runs stays below half a gigabyte."""
_PACKAGE = Path(dbtools.__file__).parent
_UNSEEN = frozenset((
    "subprocess.Popen", "os.exec", "os.posix_spawn", "os.spawn", "os.system", "os.fork", "socket.connect",
    "sqlite3.connect", "ctypes.dlopen",
))  # fmt: skip
"""Events after which more may decide the rows than can be watched."""
_READS = {"open": "opened", "os.listdir": "listed", "os.scandir": "listed"}


def load_application(project: Project, *, rebuild: bool = False) -> tuple[Application | None, KeptRows | None]:
    """Import the application of a project, and watch what it reads meanwhile; return it, and the rows kept of it.

    None and None where no step is `rows`.

    Raises:
        ConfigurationError: The module or the object does not exist.
    """
    if not project.application_path:
        return None, None
    kept = KeptRows(project, rebuild=rebuild)
    with kept.watch():
        return project.load_application(), kept


class _Seen(Record):
    """A record in memory."""

    def __init__(self) -> None:
        super().__init__(os.devnull)
        self.found: set[tuple[str, str]] = set()

    def write(self, key: str, value: str) -> None:
        self.found.add((key, value))


class KeptRows:
    """The rows that were kept of the application of `project`.

    Where others could change the folder, or it cannot be written, nothing is found and nothing is kept. With `rebuild`,
    nothing is found either, and what is computed takes the place of what was kept.
    """

    def __init__(self, project: Project, *, rebuild: bool = False) -> None:
        store = open_store(project)
        self._project = project
        self._rebuild = rebuild
        self._folder = store.memory if store.lasting else None
        self._digests = Digests(project.root, self._folder)
        self._seen: _Seen | None = None
        self._is_watching = False
        self._is_whole = True
        self._began_ns = 0

    def drop(self) -> int:
        """Remove all that were kept; return of how many runs."""
        paths = [*self._folder.glob("rows-*")] if self._folder else []
        for path in paths:
            path.unlink(missing_ok=True)
        return len(paths)

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Watch what the application reads in the block: its import, and its work."""
        if self._seen is None:
            self._seen = self._start()
        self._is_watching = True
        try:
            yield
        finally:
            self._is_watching = False

    def _start(self) -> _Seen:
        seen, self._began_ns = _Seen(), time.time_ns()
        files = Files(seen, str(_PACKAGE))
        read = {event: getattr(files, method) for event, method in _READS.items()}
        for name, module in [*sys.modules.items()]:
            if name not in ("__main__", "tasks") and (path := getattr(module, "__file__", None)):
                files.opened(path, "r", os.O_RDONLY)
        self._is_whole = not seen.found  # what such a module has read is not known

        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            if self._is_watching:
                if event in read:
                    read[event](*arguments)
                elif event in _UNSEEN:
                    self._is_whole = False

        sys.addaudithook(hook)
        return seen

    @property
    def seen(self) -> set[tuple[str, str]] | None:
        """What was read, in the words of a record; None where that is not all that decides the rows."""
        return self._seen.found if self._seen and self._is_whole else None

    def find(self, plan: SeedPlan) -> CopyData | None:
        """Return the rows of a plan, None where none were kept, or where the application is another one now."""
        path = self._path(plan)
        if path is None or self._rebuild:
            return None
        try:
            text, _, data = path.read_bytes().partition(b"\n")
            header = json.loads(text)
            inputs = Inputs.from_json(header["inputs"])
            if header["sha256"] != hashlib.sha256(data).hexdigest() or self._difference(inputs):
                return None
            tables, start = list[EncodedTable](), 0
            for name, columns, count, size in header["tables"]:
                tables.append(EncodedTable(name, columns, count, data[start : start + size]))
                start += size
            found = CopyData(tuple(tables), tuple(header["summary"]))
        except (OSError, ValueError, LookupError, TypeError):
            return None  # there are none, or something else wrote or cut the file
        with suppress(OSError):
            os.utime(path)
        return found

    def _difference(self, inputs: Inputs) -> str:
        return difference(inputs, self._project.root, self._digests, patterns=None, names=(), environ={})

    def keep(self, plan: SeedPlan, rows: CopyData, seen: set[tuple[str, str]]) -> None:
        """Keep the rows of a plan, and what decides them. Of all that were kept, those used last stay."""
        from dbtools.build.moment import Moment

        path, size = self._path(plan), sum(len(table.data) for table in rows.tables)
        if path is None or size > MAX_BYTES:
            return
        inputs = self._describe(seen)
        if Moment(str(self._project.root), self._began_ns, {}, {}, frozenset()).change_since(inputs):
            return
        data = b"".join(table.data for table in rows.tables)
        header = {
            "inputs": inputs.to_json(),
            "tables": [(table.name, table.columns, table.count, len(table.data)) for table in rows.tables],
            "summary": rows.summary,
            "sha256": hashlib.sha256(data).hexdigest(),
        }
        with suppress(OSError):  # the disk is full: the next run computes them again
            pepper.replace(path, json.dumps(header).encode() + b"\n" + data)
            kept = sorted(path.parent.glob("rows-*"), key=lambda other: other.stat().st_mtime_ns, reverse=True)
            for old in kept[MAX_KEPT:]:
                old.unlink()

    def _describe(self, seen: set[tuple[str, str]]) -> Inputs:
        root, digests = self._project.root, self._digests
        found: dict[str, set[str]] = {
            "file": {copy.__file__},
            "folder": set(),
            "modules": {str(root)},
            "packages": set(),
        }
        for kind, path in seen:
            found[kind].add(path)
        found["packages"] |= {
            str(root / entry) for entry in sys.path if entry.endswith(("/site-packages", "/dist-packages"))
        }
        names = {kind: sorted(relative(path, str(root)) for path in paths) for kind, paths in found.items()}
        described = Inputs(
            "recorded",
            {name: digests.of_file(name) for name in names["file"]},
            {name: digests.of_folder(name) for name in names["folder"]},
            {name: digests.of_modules(name) for name in names["modules"]},
            {name: digests.of_packages(name) for name in names["packages"]},
            names=(),
        )
        digests.save()
        return described

    def _path(self, plan: SeedPlan) -> Path | None:
        if self._folder is None:
            return None
        made_by = (FORMAT, dbtools.__version__, sys.version, self._project.application_path)
        key = repr((*made_by, plan.profile, plan.seed, plan.as_of.isoformat())).encode()
        return self._folder / f"rows-{hashlib.sha256(key).hexdigest()[:32]}"
