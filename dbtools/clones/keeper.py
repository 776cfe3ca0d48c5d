"""The process that keeps the server and the databases of a test run, for all of its processes.

It lives as long as one of them does, and outlives a test that ends its own process: it starts the server, builds the
project's content once, makes databases ahead, and drops those that tests are done with. `dbtools.clones.run` starts it
and talks to it.
"""

from __future__ import annotations

import json
import os
import queue
import secrets
import sys
import threading
import traceback
from contextlib import ExitStack, suppress
from multiprocessing.connection import Listener
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dbtools import config, console
from dbtools.build import template as templates
from dbtools.build.template import Owner
from dbtools.clones.pool import EMPTY, Pool
from dbtools.clones.run import KEEPER, MEMBERS
from dbtools.clones.server import open_server
from dbtools.clones.wanted import make_template
from dbtools.db.connect import open_session
from dbtools.db.databases import drop_database
from dbtools.db.dsn import Dsn
from dbtools.errors import ConfigurationError, DbtoolsError
from dbtools.server import folders
from dbtools.server.base import EphemeralServer
from dbtools.server.lease import wait_until_free

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    import psycopg

    from dbtools.clones.wanted import Wanted
    from dbtools.server import Server

MAX_AHEAD = 8
"""How many databases of one content are made ahead, at most."""


class Keeper:
    """The databases of a run on a server. Its methods may be called from several threads."""

    def __init__(self, server: Server, root: Path, *, lasts: bool) -> None:
        self._server, self._root = server, root
        self._lasts = lasts and not isinstance(server, EphemeralServer)
        """Whether databases may outlive the run."""
        self._project = root.name
        with suppress(ConfigurationError):  # empty databases need no project
            self._project = config.Project.find(root).root.name
        self._dsn = Dsn.parse(server.url, source="the server's URL")
        self._admin = Dsn.parse(server.admin_url, source="the superuser's URL") if server.admin_url else None
        self.clients = 0
        self._turn = threading.Lock()
        self._owner: Owner | None = None
        self._pools: dict[Wanted, Pool] = {}
        self._failures: dict[Wanted, DbtoolsError] = {}
        self._finished: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._dropper: threading.Thread | None = None

    def describe(self) -> dict[str, Any]:
        """Return what a client needs to know of the server."""
        facts: dict[str, Any] = {name: getattr(self._server, name) for name in ("kind", "version", "url", "admin_url")}
        return facts | {"lasts": self._lasts}

    def take(self, wanted: Wanted) -> tuple[str, str, str]:
        """Return the name of a new database with this content, its URL, and the URL that a person may see.

        Raises:
            DbtoolsError: There is none. What failed while the content was made is not tried again.
        """
        if wanted not in self._pools:
            with self._turn:
                if wanted in self._failures:
                    raise self._failures[wanted]
                if wanted not in self._pools:
                    try:
                        self._pools[wanted] = self._open_pool(wanted)
                    except DbtoolsError as error:
                        self._failures[wanted] = error
                        raise
        dsn = self._dsn.with_database(self._pools[wanted].take())
        return dsn.dbname, dsn.url, dsn.masked

    def give_back(self, name: str) -> None:
        """Have a database dropped, soon."""
        self._finished.put(name)

    def keep(self, name: str, test: str) -> None:
        """Leave a database for a look, on a server that outlives the run."""
        assert self._owner is not None
        templates.keep(self._owner.session, name, self._project, test)

    def close(self) -> None:
        """Drop all databases of the run but those that are kept; a server that ends with the run takes them along."""
        if self._server.kind == "existing" and self._owner is not None and self._dropper is not None:
            for pool in self._pools.values():
                pool.close()
            self._finished.put(None)
            self._dropper.join()
            self._owner.drop_all()
            self._owner.close()

    def _open_pool(self, wanted: Wanted) -> Pool:
        owner = self._owner
        if owner is None:
            owner = self._owner = Owner(self._dsn)
            if self._lasts:
                templates.sweep(owner.session, self._project)
            self._dropper = threading.Thread(target=self._drop, args=(owner,), name="dbtools drop", daemon=True)
            self._dropper.start()

        def prepare() -> str:
            if wanted.empty:
                return self._empty_template(owner)
            try:
                return make_template(owner, config.Project.find(self._root), wanted, note, self._admin).name
            except ConfigurationError as error:
                error.what, error.hint = map(_without_dashes, (error.what, error.hint))
                raise

        return Pool(owner, prepare(), prepare, lambda: min(self.clients + 2, MAX_AHEAD))

    def _empty_template(self, owner: Owner) -> str:
        if not getattr(self._server, "extensions", ()):
            return EMPTY
        name = owner.new_name()
        self._server.create_database(name)  # with the extensions, as the superuser
        return name

    def _drop(self, owner: Owner) -> None:
        session: psycopg.Connection | None = None
        while name := self._finished.get():
            try:
                session = session or open_session(owner.dsn, "databases")
                drop_database(session, name)
            except Exception as error:  # noqa: BLE001 - the end of the run, or the next sweep, tries again
                note(f"{name} could not be dropped: {error}")
                if session is not None:
                    session.close()
                session = None
        if session is not None:
            session.close()


def _without_dashes(text: str) -> str:
    """Return a text about options of the command line as one about keywords of the marker."""
    return text.replace("--profile", "profile").replace("--as-of", "as_of").replace("--seed", "seed")


def serve(keeper: Keeper, client: Connection) -> None:
    """Answer a client's requests until it is gone; then have the databases dropped that it still has."""
    taken: set[str] = set()
    keeper.clients += 1
    try:
        while True:
            request, *arguments = client.recv()
            try:
                client.send((_answer(keeper, taken, request, arguments), ""))
            except DbtoolsError as error:
                client.send((None, console.explain(error)))
            except (EOFError, OSError):
                raise
            except Exception as error:  # noqa: BLE001 - it is the client's to show
                traceback.print_exc()
                client.send((None, console.explain(console.unexpected(error))))
    except (EOFError, OSError):
        for name in taken:
            keeper.give_back(name)
    finally:
        keeper.clients -= 1


def _answer(keeper: Keeper, taken: set[str], request: str, arguments: list[Any]) -> object:
    match request:
        case "server":
            return keeper.describe()
        case "take":
            found = keeper.take(*arguments)
            taken.add(found[0])
            return found
        case "keep":
            keeper.keep(*arguments)
        case "give back":
            keeper.give_back(*arguments)
    taken.discard(arguments[0])
    return None


def note(text: str) -> None:
    """Write a line into the keeper's log."""
    sys.stderr.write(f"{text}\n")


def main() -> None:
    """Read what is wanted from standard input, a line of JSON, and answer with one; end with the last of the run."""
    spec = json.loads(sys.stdin.readline())
    folder, root = Path(spec["folder"]), Path(spec["root"])
    with ExitStack() as stack:
        stack.enter_context(folders.locked(folder / KEEPER))
        try:
            server = open_server(spec["kind"], spec["url"], spec["admin_url"], root)
        except DbtoolsError as error:
            _tell({"error": str(error)})
            return
        stack.enter_context(server)
        keeper = Keeper(server, root, lasts=spec["lasts"])
        key = secrets.token_bytes(32)
        listener = stack.enter_context(Listener(("127.0.0.1", 0), authkey=key))
        threading.Thread(target=_accept, args=(keeper, listener), daemon=True).start()
        _tell({"port": listener.address[1], "key": key.hex()})
        wait_until_free(folder.parent / MEMBERS)
        keeper.close()


def _tell(facts: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _accept(keeper: Keeper, listener: Listener) -> None:
    while True:
        try:
            client = listener.accept()
        except OSError:  # closed
            return
        except Exception as error:  # noqa: BLE001 - a stranger that does not know the key
            note(f"A connection was refused: {error!r}")
        else:
            threading.Thread(target=serve, args=(keeper, client), daemon=True).start()
