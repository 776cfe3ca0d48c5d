"""Bring what the project's own server holds to a later major version, by dump; the old folder stays as it is.

The new server is made and filled in a folder aside, `.dbtools/server-18.upgrade`, and compared with the old one. That
folder gets its name, `server-18`, last and at one moment: however an upgrade ends before, the old server is whole, and
another upgrade begins again. Both servers are private meanwhile (`private`), so nobody can write what would be lost.
"""

from __future__ import annotations

import shutil
import signal
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dbtools.errors import UNCHANGED, ConfigurationError, DbtoolsError, ServerError, VerificationFailed
from dbtools.server import folders, postmaster, run_as
from dbtools.server.carry import carry_database, carry_roles, check_programs, drop_databases
from dbtools.server.inventory import take_inventory
from dbtools.server.obstacles import check_disk, check_sessions, check_source, find_source
from dbtools.server.private import private_server
from dbtools.server.project import folder_of, start_lock
from dbtools.server.project_data import State, data_lock, known_state, load_state, make_data, store_state, sync
from dbtools.server.project_launch import STOP_TIMEOUT_S, wait_for_earlier_start
from dbtools.server.sources import find_binaries, find_programs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from dbtools.server.inventory import Inventory
    from dbtools.server.private import PrivateServer
    from dbtools.server.requirements import Requirements
    from dbtools.server.run_as import Account

DRAFT = ".upgrade"
"""At the end of the name of a folder that is being filled."""
EMPTY = ".empty"
"""The same of a server that held nothing and gave way."""
QUICK = {"fsync": "off", "full_page_writes": "off", "autovacuum": "off"}
"""Settings of a server that is written to disk as a whole when it is filled, and begun again where that was cut off."""


@dataclass(frozen=True)
class Upgrade:
    """What an upgrade did."""

    major: int
    """The version that the data came from."""
    old: Path
    """Its folder, as it was."""
    carried: bool
    """False: the new server held all of it already."""
    rows: Mapping[str, tuple[int, int]]
    """The number of tables and of rows in each database, the same on both servers."""


def upgrade_server(
    root: Path,
    requirements: Requirements,
    *,
    source: int | None = None,
    report: Callable[[str], None] = lambda _line: None,
) -> Upgrade:
    """Bring the project's data to the version that is required; `source` is the major version they are of.

    Afterwards the new server has the same roles, databases and rows, passwords included, and is not running; the old
    one is stopped, its folder unchanged. A server of the new version that holds nothing gives way.

    Raises:
        ConfigurationError: There is nothing of an older version, or of several, or the new version is the older one.
        NoBinaries: No programs on this machine have what is required.
        ServerError: A session is open, or something cannot be carried over; or a server did not start; or a program
            failed. Says which.
        VerificationFailed: The new server holds something else than the old one.
    """
    account, wanted = run_as.choose(), requirements.version
    major = find_source(root, account, wanted, source)
    old, new = folder_of(root, account, major), folder_of(root, account, wanted)
    with start_lock(old), start_lock(new):
        upgrading = _Upgrading(account, old, new, known_state(old), requirements, report)
        return upgrading.run(major)


class _Upgrading:
    """An upgrade from the folder `old` to `new`; the caller holds the locks of both."""

    def __init__(
        self,
        account: Account,
        old: Path,
        new: Path,
        state: State,
        requirements: Requirements,
        report: Callable[[str], None],
    ) -> None:
        self._account, self._old, self._new, self._state = account, old, new, state
        self._requirements, self._report = requirements, report
        self._draft, self._emptied = (new.with_name(new.name + end) for end in (DRAFT, EMPTY))
        self._programs = account.reach(find_binaries(requirements))

    def run(self, major: int) -> Upgrade:
        if self._state.prepared:  # its first start was cut off
            raise _empty(major)
        check_programs(self._programs)
        self._programs.check_version()
        programs = self._account.reach(find_programs(major, self._state.programs))
        check_disk(self._old)
        for folder in (self._old, self._new):
            _end(folder)
        state = f"The server of PostgreSQL {major} is stopped; its data in {self._old} are as they were."
        with _leaving(state, major, self._programs.major):
            settings = self._requirements.settings
            with private_server(self._old, self._account, programs, settings, self._state.admin_password) as old:
                check_source(old, self._programs)
                before = take_inventory(old)
                try:
                    carried = self._fill(old, before)
                    if carried:
                        self._name()
                finally:
                    shutil.rmtree(self._draft, ignore_errors=True)
        return Upgrade(major, self._old, carried, before.rows)

    def _fill(self, old: PrivateServer, before: Inventory) -> bool:
        """Make a server aside that holds what `old` does; return whether that was necessary."""
        _remove(self._draft)
        shutil.rmtree(self._emptied, ignore_errors=True)
        folders.make(self._draft, self._account.folder_mode)
        made = make_data(self._draft, self._account, self._programs, flush=False)
        settings = {**self._requirements.settings, **QUICK}
        with private_server(self._draft, self._account, self._programs, settings, made.prepared) as new:
            fresh = take_inventory(new)
            if before.is_like(fresh):
                raise _empty(old.major)
            if self._is_there(before, fresh):
                return False
            carry_roles(old, new, self._programs.bin)
            self._carry(old, replace(new, password=self._state.admin_password), before, fresh)
        sync(self._programs, self._account, self._draft / "data")
        store_state(self._draft, replace(self._state, version=made.version, programs=str(self._programs.bin)))
        return True

    def _carry(self, old: PrivateServer, new: PrivateServer, before: Inventory, fresh: Inventory) -> None:
        """Carry over the databases that a new server has not, and compare everything."""
        owned = {name: line for line in before.cluster for kind, name, _ in [line] if kind == "database"}
        for name, lines in before.databases.items():
            if lines != fresh.databases.get(name) or owned[name] not in fresh.cluster:
                self._report(f"Carrying over database {name}")
                carry_database(old, new, self._programs.bin, name)
        drop_databases(new, sorted(fresh.databases.keys() - before.databases.keys()))
        if differences := before.differences(take_inventory(new)):
            shown, rest = differences[:5], differences[5:]
            more = f", and {len(rest)} more" if rest else ""
            raise VerificationFailed(
                f"PostgreSQL {new.major} does not hold what PostgreSQL {old.major} does.",
                f"Different: {', '.join(shown)}{more}.",
                "Look at them on the server of the older version, and run this again.",
            )

    def _is_there(self, before: Inventory, fresh: Inventory) -> bool:
        """Return whether the new server holds everything already; False where there is none, or an empty one.

        Raises:
            ConfigurationError: It holds something else.
        """
        state = load_state(self._new)
        if not (self._new / "data").exists() or (state and state.prepared):  # its first start was cut off
            return False
        password = known_state(self._new).admin_password
        settings = self._requirements.settings
        with private_server(self._new, self._account, self._programs, settings, password) as there:
            found = take_inventory(there)
        if not before.differences(found):
            return True
        if found.is_like(fresh):
            return False
        raise ConfigurationError(
            f"PostgreSQL {self._programs.major} has data of its own.",
            f"They are in {self._new}: an earlier upgrade or a reset has put them there, and they differ from those in"
            f" {self._old}.",
            f"To keep them, go on. To have the others in their place: move {self._new} away, and run this again.",
        )

    def _name(self) -> None:
        """Give the filled folder its name; one that holds nothing gives way."""
        if self._new.exists():
            self._new.rename(self._emptied)
        self._draft.rename(self._new)
        shutil.rmtree(self._emptied, ignore_errors=True)


def _empty(major: int) -> ConfigurationError:
    return ConfigurationError(
        "There is nothing to upgrade.",
        f"The server of PostgreSQL {major} holds nothing that a new one has not.",
        "To start a new one: invoke server.start",
        UNCHANGED,
    )


def _end(folder: Path) -> None:
    """End the server of a folder, if one runs there and nobody uses it."""
    wait_for_earlier_start(folder)
    found = postmaster.running(folder / "data")
    if found is None:
        return
    state = known_state(folder)
    if found.listens and not state.prepared:
        check_sessions(state, found.port)
    if not postmaster.end(folder / "data", signal.SIGINT, timeout=STOP_TIMEOUT_S):
        raise ServerError(
            f"The server with process id {found.pid} does not end.",
            f"It was told to, and given {STOP_TIMEOUT_S:.0f} s.",
            f"See what keeps it: {folder / 'log'}",
            "No data were changed.",
        )


def _remove(draft: Path) -> None:
    """Remove what an upgrade left that was cut off, once its server has ended."""
    if draft.exists():
        with data_lock(draft):
            pass
        shutil.rmtree(draft)


@contextmanager
def _leaving(state: str, old: int, new: int) -> Iterator[None]:
    """Say of every error in the block which state it leaves."""
    import psycopg

    try:
        yield
    except DbtoolsError as error:
        error.state = state
        raise
    except (psycopg.Error, OSError) as error:
        raise ServerError(
            f"The upgrade from PostgreSQL {old} to {new} failed.",
            f"{' '.join(str(error).split()).rstrip('.')}.",
            "Once that is mended, run this again.",
            state,
        ) from error
    except BaseException as error:
        error.add_note(state)
        raise
