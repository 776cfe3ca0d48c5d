"""The audit hook: Python tells it of each file, folder and child process before the program gets it."""

from __future__ import annotations

import sys

from .children import Children

TYPE_CHECKING = False  # not typing's: its import takes milliseconds, in every child
if TYPE_CHECKING:
    from typing import Any, Callable

    from .record import Record


def install(record: Record | None, folder: str, variables: dict[str, str]) -> None:
    """Watch this process to its end: an audit hook cannot be removed.

    Child processes are always given `folder` on PYTHONPATH and our `variables`; the rest is for the `record`.
    """
    children = Children(record, folder, variables)
    watchers: dict[str, Callable[..., None]] = {
        "subprocess.Popen": lambda executable, arguments, _folder, environment: children.started(
            executable, arguments, environment
        ),
        "os.exec": children.started,
        "os.posix_spawn": children.started,
        "os.spawn": lambda _mode, path, arguments, environment: children.started(path, arguments, environment),
        "os.system": lambda _command: children.started("/bin/sh", (), None),
    }
    if record:
        from .files import Files

        files = Files(record, folder)
        watchers.update({"open": files.opened, "os.listdir": files.listed, "os.scandir": files.listed})
        record.packages()
    find = watchers.get

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        watcher = find(event)
        if watcher:
            watcher(*arguments)

    sys.addaudithook(hook)
