"""The peer fails: the answer to a COMMIT is lost, or it stays connected and says nothing any more."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from dbtools.chain.phase import COMMIT_UNKNOWN, NOT_COMMITTED
from dbtools.db import watch
from dbtools.db.dsn import Dsn
from dbtools.db.wait import wait_for_db
from dbtools.errors import UNCHANGED
from tests.faults.child import Child
from tests.faults.environment import NEW, OLD, Environment, environment
from tests.faults.figures import at_least, none
from tests.support.relay import Cutter, Mute, SilentPeer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dbtools.server.embedded import EmbeddedServer
    from tests.faults.figures import Figure

SILENT_AT = {b"": UNCHANGED, b"COPY": NOT_COMMITTED, b"COMMIT": COMMIT_UNKNOWN}
"""The word at which the peer falls silent, the first one being the login; and the state that is then to be told."""
LIMIT_S = 60.0
"""After this long a run counts as hung. It has ended after 5 s: see `_doubt_early`."""


def commit(server: EmbeddedServer, *, full: bool) -> Iterator[Figure]:
    """Cut the session when the answer to COMMIT is on its way, for swaps, resets in place and seeds."""
    false, wrong, tries = list[str](), list[str](), 0
    with environment(server) as here:
        contents = here.contents()
        for _ in range(10 if full else 1):
            for name, act in RUNS.items():
                here.reset(OLD)
                tries += 1
                with Child(partial(_cut, here, act), parent=True) as child:
                    ended = child.finish()
                if COMMIT_UNKNOWN not in ended.error:
                    false.append(f"{name}: {ended}")
                if contents.get(here.digest()) != NEW:  # it was committed
                    wrong.append(name)
    yield at_least("answers to COMMIT lost", tries, 3)
    yield none("state not called unknown", false)
    yield none("not committed after all", wrong)


def silence(server: EmbeddedServer) -> Iterator[Figure]:
    """Let the peer fall silent before the login, in the work and at the commit; the three wait at the same time."""
    hung, false, wrong, ends = list[str](), list[str](), list[str](), 0
    with ExitStack() as stack:
        places = [stack.enter_context(environment(server)) for _ in SILENT_AT]
        contents = places[0].contents()
        for name, act in RUNS.items():
            for here in places:
                here.reset(OLD)
            children = [
                stack.enter_context(Child(partial(_silence, here, word, act), parent=True))
                for here, word in zip(places, SILENT_AT, strict=True)
            ]
            for here, child, (word, state) in zip(places, children, SILENT_AT.items(), strict=True):
                ended = child.finish(LIMIT_S)
                if ended.code == -1:
                    hung.append(f"{name}, silent at {word!r}")
                elif not ended.foreseen or state not in ended.error:
                    false.append(f"{name}, silent at {word!r}: {ended}")
                ends += 1
                here.freed()
                if contents.get(here.digest()) != OLD:
                    wrong.append(f"{name}, silent at {word!r}")
        for name, wait in (("four ports that are mute", _wait_for_mute), ("one that lets log in", _wait_for_silent)):
            with Child(partial(wait, places[0])) as child:
                ended = child.finish(LIMIT_S)
            ends += 1
            if ended.code == -1:
                hung.append(f"wait-for-db, {name}")
            elif ended.code != 3:
                false.append(f"wait-for-db, {name}: {ended}")
    yield at_least("runs", ends, 11)
    yield none("hung", hung)
    yield none("false words", false)
    yield none("database not the old one", wrong)


def _swap(here: Environment) -> object:
    return here.reset(NEW)


def _in_place(here: Environment) -> object:
    return here.reset(NEW, in_place=True)


def _seed(here: Environment) -> object:
    return here.seed(NEW)


RUNS: dict[str, Callable[[Environment], object]] = {"swap": _swap, "in place": _in_place, "seed": _seed}


def _cut(here: Environment, act: Callable[[Environment], object]) -> None:
    """Run through a cutter, in the process of the run: threads and forks do not mix."""
    with Cutter(here.url) as cutter:
        try:
            act(replace(here, url=cutter.dsn.url))
        finally:
            assert cutter.cut == 1


def _silence(here: Environment, word: bytes, act: Callable[[Environment], object]) -> None:
    """Run through a peer that falls silent at this word."""
    _doubt_early()
    with SilentPeer(here.url, word) as peer:
        act(replace(here, url=peer.dsn.url))


def _wait_for_mute(here: Environment) -> None:
    with Mute(4) as peer:
        hosts = ",".join(["127.0.0.1"] * 4)
        wait_for_db(Dsn.parse(f"postgresql:///app?host={hosts}&port={','.join(map(str, peer.ports))}"), timeout=3.0)


def _wait_for_silent(here: Environment) -> None:
    with SilentPeer(here.url) as peer:
        wait_for_db(peer.dsn, timeout=3.0)


def _doubt_early() -> None:
    watch.PATIENCE_S, watch.PROBE_S = 1.0, 2.0
