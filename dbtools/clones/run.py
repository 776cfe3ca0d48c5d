"""A test run's side of its keeper: the folder that its processes share, and what they ask the keeper for.

Needs no driver, so that a plugin may import it where nobody asks for a database.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from dbtools.build.temporary import TemporaryFolder
from dbtools.server import folders
from dbtools.server.lease import Membership, is_held

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from dbtools.clones.wanted import Wanted

MEMBERS, KEEPER, ADDRESS, LOG = "members", "keeper.lock", "address", "log"
"""Files of a run: locked by its processes, by the keeper; the keeper's address, and what it said."""
OPTION = "--pg-server"
"""The kind of server that this option of pytest names: a throwaway one of another version."""
END_S = 60.0
"""How long a run waits for its keeper's end: what takes longer is left to the next run."""


class KeeperError(Exception):
    """What was asked for could not be had; the text is for people."""


class Url(str):
    """The URL of a database, whose `repr` hides the password: pytest shows what a failed test was given."""

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(re.sub(r"(?<=://)([^/@:]*):[^@]*(?=@)", r"\1:***", self))


class Database(NamedTuple):
    """A private database."""

    name: str
    url: Url
    masked: str
    """The URL as a person may see it."""


class Run:
    """A run of tests: its processes share the folder, and with it servers and databases.

    Without a folder this process is the run's first one, and makes it.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._made = None if folder else TemporaryFolder()
        self.folder = folder or self._made.path  # type: ignore[union-attr]
        self._membership = Membership(self.folder / MEMBERS)
        self._clients: dict[str, Client] = {}
        self._started: list[subprocess.Popen[bytes]] = []

    def client(
        self, kind: str, root: Path, url: str = "", admin_url: str | None = None, *, lasts: bool = True
    ) -> Client:
        """Return what asks the keeper of one server, started if need be; two processes that call this start one.

        `kind` is "embedded", "container", "project" or `OPTION`; anything else is what errors call `url`, that of a
        server. `lasts` says whether such a one outlives the run: throwaway servers never do.

        Raises:
            KeeperError: There is no server.
        """
        values = {"kind": kind, "root": str(root), "url": url, "admin_url": admin_url, "lasts": lasts}
        name = hashlib.sha256(json.dumps(values).encode()).hexdigest()[:16]
        if name not in self._clients:
            folder = self.folder / name
            with folders.locked(self.folder / f"{name}.lock"):
                folder.mkdir(exist_ok=True)
                if not (folder / ADDRESS).exists():
                    answer = self._start(folder, root, json.dumps({"folder": str(folder), **values}))
                    draft = folder / f"{ADDRESS}.draft"
                    draft.touch(mode=0o600)
                    draft.write_text(answer, "utf-8")
                    draft.rename(folder / ADDRESS)
            self._clients[name] = Client(folder, kind)
        return self._clients[name]

    def close(self) -> None:
        """Leave the run; its first process waits for the end of keepers and servers, and removes the folder."""
        for client in self._clients.values():
            client.close()
        self._membership.close()
        if self._made:
            deadline = time.monotonic() + END_S
            while any(map(is_held, self.folder.glob(f"*/{KEEPER}"))) and time.monotonic() < deadline:
                time.sleep(0.002)
            self._made.close()
        for process in self._started:
            if process.poll() is None:
                process.returncode = 0  # it outlives this process on purpose; Popen would complain

    def _start(self, folder: Path, root: Path, spec: str) -> str:
        # The module's own place, because pytest may have put it on sys.path by itself.
        place = str(Path(__file__).resolve().parent.parent.parent)
        program = f"import sys; sys.path.insert(0, {place!r}); from dbtools.clones.keeper import main; main()"
        with (folder / LOG).open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-c", program],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=root,
                start_new_session=True,  # Ctrl-C does not reach it
            )
        self._started.append(process)
        assert process.stdin is not None
        assert process.stdout is not None
        with process.stdin, process.stdout:
            process.stdin.write(spec.encode() + b"\n")
            process.stdin.flush()
            return process.stdout.readline().decode() or json.dumps({"error": _ended(folder)})


class Client:
    """Asks a keeper."""

    def __init__(self, folder: Path, kind: str) -> None:
        from multiprocessing import connection

        self._folder, self.kind = folder, kind
        answer = json.loads((folder / ADDRESS).read_text("utf-8"))
        if error := answer.get("error"):
            raise KeeperError(error)
        try:
            self._connection: Connection = connection.Client(
                ("127.0.0.1", answer["port"]), authkey=bytes.fromhex(answer["key"])
            )
        except OSError:
            raise KeeperError(_ended(folder)) from None
        self.server: dict[str, Any] = self._ask("server")

    def take(self, wanted: Wanted) -> Database:
        """Return a new database with this content; it is this process' until it is given back or kept, or ends."""
        name, url, masked = self._ask("take", wanted)
        return Database(name, Url(url), masked)

    def give_back(self, database: Database) -> None:
        """Have a database dropped, soon."""
        self._ask("give back", database.name)

    def keep(self, database: Database, test: str) -> None:
        """Leave the database of a failed test for a look."""
        self._ask("keep", database.name, test)

    def close(self) -> None:
        """End the connection: the keeper drops what this process still has."""
        self._connection.close()

    def _ask(self, *request: object) -> Any:
        try:
            self._connection.send(request)
            answer, error = self._connection.recv()
        except (EOFError, OSError):
            raise KeeperError(_ended(self._folder)) from None
        if error:
            raise KeeperError(error)
        return answer


def _ended(folder: Path) -> str:
    lines = (folder / LOG).read_text("utf-8", "replace").strip().splitlines() if (folder / LOG).exists() else []
    return (
        "The process that keeps the tests' databases has ended.\n"
        f"The end of what it said: {' | '.join(lines[-3:]) or 'nothing'}. Its server has ended with it, unless it is"
        " one that was there before.\n"
        "Run the tests again."
    )
