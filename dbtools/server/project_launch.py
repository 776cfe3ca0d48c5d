"""The start of the project's own server, on the data of an earlier one or on new data."""

from __future__ import annotations

import signal
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from dbtools.errors import ServerError
from dbtools.server import postmaster
from dbtools.server.cluster import SUPERUSER, local_url, set_passwords
from dbtools.server.extensions import make_extensions
from dbtools.server.project_data import State, data_lock, known_state, load_state, make_data, store_state

if TYPE_CHECKING:
    from pathlib import Path

    from dbtools.server.binaries import Binaries
    from dbtools.server.requirements import Requirements
    from dbtools.server.run_as import Account

STOP_TIMEOUT_S = 20.0
SETTINGS = {
    "unix_socket_directories": "",
    "cluster_name": "dbtools",
    # After a power cut the last transactions may be missing, but the database is intact.
    "synchronous_commit": "off",
}


def wait_for_earlier_start(directory: Path) -> None:
    """Wait for a server whose start was cut off: its starter was killed, but the server still gets ready.

    Removing its pid file and starting a second server on the same data would destroy the data.
    """
    deadline = time.monotonic() + postmaster.READY_TIMEOUT_S
    while load_state(directory) and (found := postmaster.running(directory / "data")) and not found.ready:
        if time.monotonic() > deadline:
            raise ServerError(
                f"The server with process id {found.pid} does not get ready.",
                f"It was started by an earlier call and given {postmaster.READY_TIMEOUT_S:.0f} s; it still runs.",
                f"See what keeps it: {directory / 'log'}",
            )
        time.sleep(0.01)


def launch(directory: Path, account: Account, binaries: Binaries, requirements: Requirements) -> None:
    """Start the server on its data, which the first start makes. The caller holds the lock of the directory.

    Raises:
        ServerError: It did not start, or an extension could not be made; or the state file is damaged or lost.
    """
    data, log = directory / "data", directory / "log"
    state = known_state(directory) if data.exists() else load_state(directory)
    if state is not None and state.prepared:
        postmaster.end(data, signal.SIGQUIT, timeout=STOP_TIMEOUT_S)  # its start was cut off, its passwords are not set
    version = binaries.check_version()
    with data_lock(directory) as lock:
        if state is None or not data.exists():
            state = make_data(directory, account, binaries)
        if not postmaster.is_free(state.port):
            state = replace(state, port=postmaster.free_port())
        if sys.platform == "linux":
            # A crash leaves this file, and PostgreSQL takes any process with that id for the server.
            (data / "postmaster.pid").unlink(missing_ok=True)
        log.touch(mode=0o600)
        settings = {**SETTINGS, **requirements.settings, "port": str(state.port)}
        process = postmaster.spawn(binaries, account, data, log, settings, die_with_parent=False, keep=[lock])
    postmaster.wait_ready(process, data, log, f"The whole log: {log}")
    # The server outlives this process on purpose; Popen would complain about a child that still runs.
    process.returncode = 0
    if state.prepared:
        _set_passwords(state)
    # Programs of a later minor version may have taken over.
    state = replace(state, version=version, programs=str(binaries.bin), prepared="")
    store_state(directory, state)
    make_extensions(local_url(SUPERUSER, state.admin_password, state.port), requirements.extensions)
    store_state(directory, replace(state, extensions=requirements.extensions))


def _set_passwords(state: State) -> None:
    import psycopg

    try:
        set_passwords(state.port, state.prepared, state.password, state.admin_password)
    except psycopg.OperationalError:
        # An earlier start has set them, and was cut off before it could store that.
        set_passwords(state.port, state.admin_password, state.password, state.admin_password)
