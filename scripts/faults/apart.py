"""Namespaces: what is done to the network or to the mounts there happens to nobody else, and goes with the process."""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
import socket
import struct
import subprocess
import sys
from typing import TYPE_CHECKING

from scripts.faults.child import Child
from scripts.faults.figures import Skipped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from scripts.faults.figures import Figure

NETWORK, MOUNTS = 0x40000000, 0x00020000
"""CLONE_NEWNET, CLONE_NEWNS."""
_SIOCSIFFLAGS, _UP = 0x8914, 0x1 | 0x40


def apart(action: Callable[[], list[Figure]], kind: int, *programs: str) -> Iterator[Figure]:
    """Run `action` in a process with a network or mounts of its own and yield its figures.

    Raises:
        Skipped: That needs root on Linux, and these programs.
    """
    if sys.platform != "linux" or os.geteuid() != 0:
        raise Skipped("needs root on Linux, for a namespace")
    missing = [one for one in programs if not _found(one)]
    if missing:
        raise Skipped(f"no {missing[0]}")

    def inside() -> list[Figure] | str:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(kind):
            return f"no namespace: {os.strerror(ctypes.get_errno())}"
        try:
            _settle(kind)
            return action()
        except Skipped as reason:
            return str(reason)

    with Child(inside, parent=True) as child:
        ended = child.finish(600)
    if not ended.ok:
        raise RuntimeError(ended.error)
    if isinstance(ended.value, str):
        raise Skipped(ended.value)
    yield from ended.value


def _settle(kind: int) -> None:
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
    done = subprocess.run([_found(command[0]) or command[0], *command[1:]], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Skipped(f"{command[0]}: {' '.join(done.stderr.split()) or done.returncode}")


def _found(program: str) -> str | None:
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
