"""Break what can break while the chain runs, and show in figures what that did.

nox -s faults                               the short form
nox -s faults -- --full                     many more rounds
nox -s faults -- -k "client or network"     some rows
nox -s faults -- --figures FILE             the figures as JSON (default: .dbtools/cache/faults.json)

A test is a row of the table that is printed at the end: a line a figure, with what is required of it. A row that this
machine cannot show says why; where CI is set, that is a failure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dbtools.chain.lock import TransactionLock
from tests.faults import (
    builds,
    contention,
    kill,
    peers,
    pooler,
    project_data,
    psql_interop,
    readers,
    server_faults,
    signals,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from dbtools.server.embedded import EmbeddedServer
    from tests.faults.figures import Figure
    from tests.faults.record import Play

pytestmark = [pytest.mark.faults, pytest.mark.timeout(3600)]


def test_client(play: Play, server: EmbeddedServer, full: bool) -> None:
    play("client killed (-9)", kill.client(server, full=full))


def test_backend_swap(play: Play, server: EmbeddedServer, full: bool) -> None:
    play("sessions ended, swap", kill.backend_swap(server, full=full))


def test_backend_in_place(play: Play, server: EmbeddedServer, full: bool) -> None:
    play("sessions ended, in place", kill.backend_in_place(server, full=full))


def test_lock(play: Play, server: EmbeddedServer, full: bool) -> None:
    play("lock's session ended, migrate", kill.lock_lost(server, full=full))


def test_lock_row_would_see_a_reset_that_does_not_wait(server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TransactionLock, "wait_for_fence", lambda self, waits, waiting: None)
    lost, _, waited, _, wrong, _ = kill.lock_lost(server, full=False)
    assert lost.holds
    assert not waited.holds
    assert not wrong.holds
    assert wrong.text.startswith("3: something of the step is left")


def test_restart(play: Play, full: bool) -> None:
    play("server restarted (immediate)", server_faults.restart(full=full))


def test_disk(play: Play, full: bool) -> None:
    play("disk full", server_faults.disk(full=full))


def test_memory(play: Play, server: EmbeddedServer) -> None:
    play("out of shared memory", server_faults.memory(server))


def test_timeouts(play: Play, server: EmbeddedServer) -> None:
    play("timeouts set for the role", server_faults.impatient(server))


def test_readers(play: Play, server: EmbeddedServer, full: bool) -> None:
    play("readers under reset", readers.under_reset(server, full=full))


def test_pooler(play: Play, server: EmbeddedServer, full: bool) -> None:
    play("pooler, transaction mode", pooler.behind(server, full=full))


def test_contention(play: Play, full: bool) -> None:
    play("contention", contention.contention(full=full))


def test_concurrently(play: Play, server: EmbeddedServer, full: bool) -> None:
    play("index built while others wait", contention.concurrently(server, full=full))


def test_psql(play: Play, server: EmbeddedServer, full: bool) -> None:
    play("two programs, one key", psql_interop.psql(server, full=full))


def test_broken_builds(play: Play, server: EmbeddedServer, full: bool) -> None:
    play("build broken off", builds.broken_off(server, full=full))


def test_first_runs(play: Play, server: EmbeddedServer, full: bool) -> None:
    play("first runs at once", builds.first_runs(server, full=full))


def test_store_disk(play: Play) -> None:
    play("disk of the snapshots full", builds.full_disk())


def test_commit(play: Play, server: EmbeddedServer, full: bool) -> None:
    play("answer to COMMIT lost", peers.commit(server, full=full))


def test_silence(play: Play, server: EmbeddedServer) -> None:
    play("peer falls silent", peers.silence(server))


def test_signals(play: Play, server: EmbeddedServer, full: bool) -> None:
    play("asked to end by a signal", signals.signals(server, full=full))


def test_two_servers(play: Play) -> None:
    play("two servers on one data folder", project_data.two_servers())


def test_state_lost(play: Play) -> None:
    play("state file lost", project_data.state_lost())


def test_cluster(play: Play) -> None:
    play("prepared cluster damaged", project_data.cluster())


def test_network(play: Play, network_figures: Callable[[], list[Figure]]) -> None:
    """Comes last: it is played while the others are."""
    play("network cut", (figure for figure in network_figures()))
