"""A throwaway PostgreSQL that ends with its parent process, however that ends, and leaves no files behind.

A server runs on a copy of the prepared cluster in a folder of its own, on tmpfs where there is room. Three things end
it:

- `stop`, or leaving the `with` block;
- a watchdog process (`dbtools.server.watchdog`), which ends the server and deletes the folder even after kill -9;
- on Linux, the kernel's parent-death signal, which ends the server even if the watchdog was killed too. The signal
  follows the *thread* that started the server, so dbtools asks for it in the main thread only.

If all three fail (a power cut), the next start sweeps: see `embedded_folder`.
"""

from __future__ import annotations

import secrets
import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

from dbtools.db.dsn import Dsn
from dbtools.errors import ServerError
from dbtools.server import postmaster, run_as
from dbtools.server.base import EphemeralServer
from dbtools.server.cluster import ROLE, SUPERUSER, copy, local_url, prepare, set_passwords
from dbtools.server.embedded_folder import ServerFolder
from dbtools.server.extensions import make_extensions
from dbtools.server.requirements import NONE
from dbtools.server.sources import find_binaries

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from dbtools.server.binaries import Binaries
    from dbtools.server.requirements import Requirements
    from dbtools.server.run_as import Account

MAX_STARTS = 5
"""Attempts, each with another port, before a start gives up."""
HINT = "Nothing was left behind. To use a server of your own, set DATABASE_URL."
LAB_HINT = "Nothing was left behind. Correct the setting, if the log names one."
SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "cluster_name": "dbtools",
    "unix_socket_directories": "",  # below a deep TMPDIR its path would be too long; clients come over TCP
}


class EmbeddedServer(EphemeralServer):
    """A throwaway server on loopback TCP with SCRAM and random passwords. See `dbtools.server.Server`."""

    kind = "embedded"

    def __init__(self, binaries: Binaries, account: Account, settings: Mapping[str, str]) -> None:
        """Make the server's folder, and the watchdog that removes it. `start` does the rest."""
        self.version = ""
        self.url = ""
        self.admin_url = ""
        self._binaries, self._account, self._settings = binaries, account, settings
        self._process: subprocess.Popen[bytes] | None = None
        self._folder = ServerFolder(account)
        self.directory, self.log, self._data = self._folder.path, self._folder.log, self._folder.data

    @classmethod
    def start(
        cls,
        requirements: Requirements = NONE,
        *,
        account: Account | None = None,
        settings: Mapping[str, str] | None = None,
        bare: bool = False,
        lean: bool = True,
        lab: bool = False,
    ) -> Self:
        """Return a running server whose application database is empty but for the extensions.

        With `bare` they are only there to be made. `settings` override those that are required, and these those of
        throwaway servers, except the port. A `lean` server lacks the databases postgres and template0, and starts
        faster. For the `lab` no other server would do, and errors name none.

        Raises:
            NoBinaries: No programs have what is required.
            ServerError: The server did not start; shows the end of its log. Or an extension could not be made.
        """
        account = account or run_as.choose()
        binaries = account.reach(find_binaries(requirements, fixed=bare, lab=lab))
        cluster = prepare(binaries, account, lean=lean)
        server = cls(binaries, account, {**SETTINGS, **requirements.settings, **(settings or {})})
        try:
            server._fill(cluster.data)
            port = server._start_on_free_port(LAB_HINT if lab else HINT)
            passwords = (secrets.token_urlsafe(18), secrets.token_urlsafe(18))
            set_passwords(port, cluster.password, *passwords)
            server.version, server.extensions = cluster.version, () if bare else requirements.extensions
            server.url, server.admin_url = local_url(ROLE, passwords[0], port), local_url(SUPERUSER, passwords[1], port)
            make_extensions(server.admin_url, server.extensions)
        except BaseException:
            server.stop()
            raise
        return server

    @property
    def pid(self) -> int:
        """The process id of the server, also after its end."""
        assert self._process is not None
        return self._process.pid

    def crash(self) -> None:
        """End the server at once: no farewell to clients, no checkpoint. Keep its data for `restart`."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGQUIT)  # an immediate shutdown
            self._process.wait()

    def restart(self) -> None:
        """Start the server again on its data, with the same port, passwords and settings; crash it first if it runs.

        It recovers from its write-ahead log. The last commits may be lost unless synchronous_commit is on.

        Raises:
            ServerError: The server did not start; shows the end of its log.
        """
        self.crash()
        self._spawn(int(Dsn.parse(self.url, source="the server's URL").port), f"The whole log: {self.log}")

    @contextmanager
    def at_rest(self) -> Iterator[None]:
        """Stop the server cleanly for the block, so that it can be copied; then start it again, on another port.

        Raises:
            ServerError: It did not start again; shows the end of its log.
        """
        assert self._process is not None
        self._process.send_signal(signal.SIGINT)  # a fast shutdown, with a checkpoint
        self._process.wait()
        yield
        self._start_as(self)

    def copy(self) -> Self:
        """Return another running server, with the content, settings and passwords of this one, which is at rest.

        Raises:
            ServerError: It did not start; shows the end of its log.
        """
        twin = type(self)(self._binaries, self._account, self._settings)
        try:
            twin._fill(self._data)  # noqa: SLF001 - its own class
            twin.version, twin.extensions = self.version, self.extensions
            twin._start_as(self)  # noqa: SLF001
        except BaseException:
            twin.stop()
            raise
        return twin

    def stop(self) -> None:
        """End the server and delete its folder. A second call does nothing."""
        if self._folder.removed:
            return
        self.crash()
        self._folder.remove()

    def _fill(self, data: Path) -> None:
        copy(data, self._data)
        self.directory.chmod(self._account.folder_mode)

    def _start_as(self, original: Self) -> None:
        port = str(self._start_on_free_port(LAB_HINT))
        self.url, self.admin_url = (
            Dsn.parse(url, source="the server's URL").changed(port=port).url
            for url in (original.url, original.admin_url)
        )

    def _start_on_free_port(self, hint: str) -> int:
        for attempt in range(MAX_STARTS):
            port = postmaster.free_port()
            try:
                self._spawn(port, hint)
                break
            except ServerError:
                # Another process may have taken the port in the meantime.
                taken = "Address already in use" in self.log.read_text("utf-8", errors="replace")
                if not taken or attempt == MAX_STARTS - 1:
                    raise
        return port

    def _spawn(self, port: int, hint: str) -> None:
        self._process = postmaster.spawn(
            self._binaries,
            self._account,
            self._data,
            self.log,
            {**self._settings, "port": str(port)},
            die_with_parent=threading.current_thread() is threading.main_thread(),
        )
        postmaster.wait_ready(self._process, self._data, self.log, hint)
