"""A headless Chromium that tests control through the pipe of its debugging protocol."""

import contextlib
import itertools
import json
import os
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
PROGRAM = next(filter(None, map(shutil.which, PROGRAMS)), None)
_MAX_ANSWER_S = 60
"""Against hangs only."""


class Browser:
    """One page of a browser. It records the requests, the warnings and the errors of the page."""

    def __init__(self, read: int, write: int) -> None:
        self._read, self._write = read, write
        self._rest = b""
        self._numbers = itertools.count(1)
        self._session: dict[str, str] = {}
        self._events: list[dict[str, Any]] = []
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = {"sessionId": self._ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]}
        for domain in ("Page", "Log", "Runtime", "Network"):
            self._ask(f"{domain}.enable")

    def open(self, url: str, width: int, *, dark: bool = False) -> None:
        """Open a page in a window of that width and return when it has loaded."""
        media = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self._ask("Emulation.setEmulatedMedia", features=media)
        self._ask("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        self._ask("Page.navigate", url="about:blank")
        self._until("Page.loadEventFired")
        self._events.clear()
        self._ask("Page.navigate", url=url)
        self._until("Page.loadEventFired")

    def evaluate(self, script: str) -> Any:
        """Return the value of a script. The page's own policy does not apply to it."""
        answer = self._ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    @property
    def requests(self) -> list[str]:
        """The URLs that the page requested, its own included."""
        return [event["params"]["request"]["url"] for event in self._seen("Network.requestWillBeSent")]

    @property
    def complaints(self) -> list[str]:
        """What the console shows: errors, warnings, and what the page's policy refused."""
        entries = [event["params"]["entry"]["text"] for event in self._seen("Log.entryAdded")]
        return entries + [str(event) for event in self._seen("Runtime.exceptionThrown", "Runtime.consoleAPICalled")]

    def _seen(self, *names: str) -> list[dict[str, Any]]:
        return [event for event in self._events if event["method"] in names]

    def _until(self, name: str) -> None:
        while not self._seen(name):
            self._events.append(self._message())
        self._events = [event for event in self._events if event["method"] != name]

    def _ask(self, method: str, **params: Any) -> Any:
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": params, **self._session}
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._message()
            if answer.get("id") == number:
                assert "error" not in answer, answer["error"]
                return answer["result"]
            self._events.append(answer)

    def _message(self) -> dict[str, Any]:
        deadline = time.monotonic() + _MAX_ANSWER_S
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._read], [], [], max(0, deadline - time.monotonic()))
            piece = os.read(self._read, 1 << 16) if ready else b""
            if not piece:
                raise TimeoutError("the browser does not answer, or has ended")
            self._rest += piece
        message, _, self._rest = self._rest.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        return found


@contextlib.contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """Start a browser with its files in the folder, and end it.

    Raises:
        OSError: It does not start here.
    """
    theirs, write = os.pipe()
    read, them = os.pipe()
    command = [
        *(str(PROGRAM), "--headless", "--remote-debugging-pipe", f"--user-data-dir={folder}", "--no-first-run"),
        *("--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update"),
        *(["--no-sandbox"] if os.geteuid() == 0 else []),
    ]
    # The protocol is spoken over the descriptors 3 and 4.
    with subprocess.Popen(
        ["bash", "-c", f'exec 3<&{theirs} 4>&{them} && exec "$@"', "bash", *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=(theirs, them),
        start_new_session=True,
    ) as process:
        os.close(theirs)
        os.close(them)
        try:
            yield Browser(read, write)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            os.close(read)
            os.close(write)
