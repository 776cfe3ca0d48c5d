"""PgBouncer, where it is installed (Debian: apt-get install pgbouncer), before a database."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dbtools.db.dsn import Dsn
from tests.support.waiting import until

PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
CONFIG = """
[databases]
* = host={host} port={port} user={user} password='{password}'
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
default_pool_size = {size}
server_round_robin = {round_robin}
"""


@contextmanager
def pooler(url: str, mode: str, *, size: int = 20, round_robin: bool = False) -> Iterator[str]:
    """Yield the URL of the database at `url` behind a PgBouncer in the pool mode `mode`."""
    assert PROGRAM is not None
    dsn = Dsn.parse(url)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        listen = free.getsockname()[1]
    # PgBouncer does not run as root.
    user = "nobody" if os.getuid() == 0 else None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pgbouncer.ini"
        path.write_text(
            CONFIG.format(
                host=dsn.host,
                port=dsn.port,
                user=dsn.user,
                password=dsn.password,
                listen=listen,
                mode=mode,
                size=size,
                round_robin=int(round_robin),
            )
        )
        if user:
            shutil.chown(folder, user)
            shutil.chown(path, user)
        with subprocess.Popen([PROGRAM, "-q", str(path)], user=user, stderr=subprocess.DEVNULL) as process:
            try:
                until(lambda: _listens(process, listen), "PgBouncer does not listen")
                yield f"postgresql://{dsn.user}@127.0.0.1:{listen}/{dsn.dbname}"
            finally:
                process.kill()


def _listens(process: subprocess.Popen[bytes], port: int) -> bool:
    assert process.poll() is None, "PgBouncer ended"
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
