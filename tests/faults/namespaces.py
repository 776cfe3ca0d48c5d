"""Namespaces: a process gets a network or mounts of its own; what is done to them ends with it."""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
import socket
import struct
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.faults.child import Child
from tests.faults.figures import Skipped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.faults.figures import Figure

NETWORK, MOUNTS = 0x40000000, 0x00020000
"""CLONE_NEWNET, CLONE_NEWNS."""
LIMIT_S = 600.0
_SIOCSIFFLAGS, _UP = 0x8914, 0x1 | 0x40


@contextmanager
def apart(action: Callable[[], list[Figure]], kind: int, *programs: str) -> Iterator[Callable[[], list[Figure]]]:
    """Run `action` in a process with a network or mounts of its own; yield a function that waits for its figures.

    That function raises Skipped where this machine cannot do it: it takes root on Linux, and these programs.
    """
    if reason := _why_not(programs):

        def refuse() -> list[Figure]:
            raise Skipped(reason)

        yield refuse
        return

    def inside() -> list[Figure] | str:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(kind):
            return f"no namespace: {os.strerror(ctypes.get_errno())}"
        try:
            _prepare(kind)
            return action()
        except Skipped as error:
            return str(error)

    with Child(inside, parent=True) as child:

        def collect() -> list[Figure]:
            ended = child.finish(LIMIT_S)
            if not ended.ok:
                raise RuntimeError(ended.error)
            if isinstance(ended.value, str):
                raise Skipped(ended.value)
            found: list[Figure] = ended.value
            return found

        yield collect


def _why_not(programs: tuple[str, ...]) -> str:
    if sys.platform != "linux" or os.geteuid() != 0:
        return "needs root on Linux, for a namespace"
    return next((f"no {program}" for program in programs if not _find(program)), "")


def _prepare(kind: int) -> None:
    if kind == MOUNTS:
        must("mount", "--make-rprivate", "/")
        return
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", _UP))


def must(*command: str) -> None:
    """Run a program.

    Raises:
        Skipped: It failed; with what it said.
    """
    done = subprocess.run([_find(command[0]) or command[0], *command[1:]], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Skipped(f"{command[0]}: {' '.join(done.stderr.split()) or done.returncode}")


def _find(program: str) -> str | None:
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
