#!/usr/bin/env python3
"""Build the image of Dockerfile, and run it as clusters do, on a throwaway server in another container.

    nox -s image                        needs an engine with the image of a PostgreSQL server: docs/containers.md
    nox -s image -- --base registry     on the base image that Dockerfile names, from its registry

The usual base image is made here, without an image registry, from that of scripts/container_image: Debian's Python, and
the locked packages as wheels. Prints a table: a way to run the image a row. After each the server is asked what it
holds. Exits with 1 if a run did not end as it should.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import psycopg  # noqa: E402 - found as the next four are

from dbtools.config import LOCK_KEY  # noqa: E402 - found through the line above
from dbtools.console import table  # noqa: E402 - as above
from dbtools.server import engine  # noqa: E402 - as above
from dbtools.server.container import ContainerServer  # noqa: E402 - as above

IMAGE, STAND_IN = "groombook-reset:check", "dbtools/python-standin:check"
AS_OF = ("--as-of", "2026-11-23")
LOCKED = ("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")
TMP = ("--tmpfs", "/tmp")  # noqa: S108 - in the container
STAND_IN_FILE = """\
FROM {image}
USER root
ENV PATH=/usr/local/bin:/usr/bin:/usr/sbin:/bin PIP_NO_INDEX=1 PIP_FIND_LINKS=/wheels
ENTRYPOINT []
COPY wheels /wheels
"""


@dataclass(frozen=True)
class Way:
    """How the image is run, and how that ends."""

    name: str
    command: tuple[str, ...] = ()
    """Instead of the image's own, which is a reset."""
    code: int = 0
    says: str = ""
    """Part of what it writes."""
    options: tuple[str, ...] = (*LOCKED, *TMP)
    """Of `docker run`."""
    variables: dict[str, str] = field(default_factory=dict)
    programs: bool = False
    """Whether PostgreSQL's are on PATH; those of the server's image, which the stand-in has too."""


WAYS = (
    Way("as the page says"),
    Way("another account, of group 0", options=(*LOCKED, *TMP, "--user", "123456:0")),
    Way("nothing may be written, not even /tmp", options=LOCKED),
    Way("HOME leads nowhere", variables={"HOME": "/nowhere"}),
    Way("256 MB, 32 processes", options=(*LOCKED, *TMP, "--memory", "256m", "--pids-limit", "32")),
    Way("wait-for-db", ("wait-for-db",)),
    Way("seed", ("seed", *AS_OF)),
    Way("migrate", ("migrate",)),
    Way("doctor, without pg_dump", ("doctor",), code=6, says="pg_dump"),
    Way("doctor, with it", ("doctor",), programs=True),
    Way(
        "verify-concurrency, with pg_dump",
        ("verify-concurrency", *AS_OF, "--rounds", "1", "--seeders", "2"),
        programs=True,
    ),
    Way("protected", code=5, says="protect list", variables={"DBTOOLS_PROTECT": "app"}),
    Way("no such host", code=3, variables={"DATABASE_URL": "postgresql://app@nowhere.invalid/app"}),
)
RESETS = WAYS[:5]


def main() -> int:
    """Build the image, run it in every way, print the table, and return the exit code."""
    parser = argparse.ArgumentParser(prog="nox -s image --", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--base", choices=("stand-in", "registry"), default="stand-in")
    stand_in = parser.parse_args().base == "stand-in"
    base = [f"BASE={make_stand_in()}"] if stand_in else []
    arguments = [*base, "PROFILE=dev", f"AS_OF={AS_OF[1]}"]
    docker("build", "--quiet", "-t", IMAGE, *(word for each in arguments for word in ("--build-arg", each)), ".")
    cells = []
    with ContainerServer.start() as server:
        invoke(server.url, "reset", *AS_OF)
        expected = invoke(server.url, "digest")
        ways = {way.name: functools.partial(run, server.url, way) for way in WAYS if stand_in or not way.programs}
        ways["a reset and three seeds at once"] = functools.partial(together, server.url)
        ways["asked to end while it waits"] = functools.partial(interrupted, server.url)
        for name, play in ways.items():
            began = time.monotonic()
            wrong = play() or held(server.url, expected)
            cells.append((name, wrong, f"{time.monotonic() - began:.1f}"))
    print(table(("way", "result", "s"), [(way, "WRONG" if wrong else "ok", taken) for way, wrong, taken in cells]))
    for way, wrong, _ in cells:
        if wrong:
            print(f"\n{way}: {wrong}")
    return 1 if any(wrong for _, wrong, _ in cells) else 0


def run(url: str, way: Way) -> str:
    """Run the image in a way, a reset on an empty database; return what is wrong with its end, "" for nothing."""
    if way in RESETS:
        with psycopg.connect(url) as connection:
            connection.execute("drop schema public cascade; create schema public")
    done = subprocess.run(container(url, way), text=True, capture_output=True, check=False)
    output = done.stdout + done.stderr
    if done.returncode != way.code or way.says not in output:
        return f"exit {done.returncode}: {output}"
    for line in output.splitlines():
        json.loads(line)  # the image's log is for machines
    return ""


def together(url: str) -> str:
    """Run a reset and three seeds at the same time, as Jobs that know nothing of each other; return what failed."""
    commands = [container(url, Way("", command)) for command in ((), *[("seed", *AS_OF)] * 3)]
    pipe = subprocess.PIPE
    processes = [subprocess.Popen(command, text=True, stdout=pipe, stderr=pipe) for command in commands]
    outputs = ["".join(process.communicate()) for process in processes]
    return "\n".join(output for process, output in zip(processes, outputs, strict=True) if process.returncode)


def held(url: str, expected: str) -> str:
    """Return how what the server holds differs from what a reset from here has made, "" for not at all."""
    found = invoke(url, "digest")
    return "" if found == expected else f"the server holds something else: {found}"


def interrupted(url: str) -> str:
    """Ask a run that waits for the lock to end, as a cluster does; return what is wrong with its end."""
    name = f"groombook-check-{os.getpid()}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("select pg_advisory_lock(%s)", [LOCK_KEY])
        command = container(url, Way("", options=("--name", name)))
        with subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            waiting = "select count(*) from pg_locks where locktype = 'advisory' and not granted"
            while connection.execute(waiting).fetchone() == (0,) and process.poll() is None:
                time.sleep(0.05)
            docker("stop", "--time", "60", name)  # after that SIGKILL, which is another exit code
            output, errors = process.communicate()
    output += errors
    foreseen = process.returncode == 143 and "Interrupted by SIGTERM." in output
    return "" if foreseen else f"exit {process.returncode}: {output}"


def container(url: str, way: Way) -> list[str]:
    """Return the command that runs the image in a way."""
    variables = {"DATABASE_URL": url, **way.variables}
    if way.programs:
        variables["PATH"] = f"/venv/bin:{server_path()}"
    environment = [word for name, value in variables.items() for word in ("-e", f"{name}={value}")]
    return ["docker", "run", "--rm", "--network", "host", *way.options, *environment, IMAGE, *way.command]


def server_path() -> str:
    """Return PATH in the server's image."""
    listed = docker("image", "inspect", "--format", "{{range .Config.Env}}{{println .}}{{end}}", engine.image())
    (path,) = (line.removeprefix("PATH=") for line in listed.splitlines() if line.startswith("PATH="))
    return path


def make_stand_in() -> str:
    """Make the base image that needs no registry of images, and return its name."""
    with tempfile.TemporaryDirectory() as folder:
        wheels = Path(folder, "wheels")
        python = docker("run", "--rm", "--entrypoint", "python3", engine.image(), "-c", VERSION)
        pip = [sys.executable, "-m", "pip", "download", "-qq", "--require-hashes", "--only-binary", ":all:"]
        for path in (ROOT / "deploy").glob("requirements*.txt"):
            if path.name != "requirements-check.txt":  # that is for the manifests
                subprocess.run([*pip, "--python-version", python, "-r", str(path), "-d", str(wheels)], check=True)
        Path(folder, "Dockerfile").write_text(STAND_IN_FILE.format(image=engine.image()), "utf-8")
        docker("build", "--quiet", "-t", STAND_IN, folder)
    return STAND_IN


VERSION = "import sys; print('.'.join(map(str, sys.version_info[:2])))"


def docker(*arguments: str) -> str:
    """Run docker and return what it prints."""
    done = subprocess.run(["docker", *arguments], cwd=ROOT, text=True, capture_output=True, check=False)
    if done.returncode:
        sys.exit(f"docker {' '.join(arguments)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout.strip()


def invoke(url: str, *arguments: str) -> str:
    """Run a task from here, on the same server, and return what it prints."""
    command = [sys.executable, "-m", "invoke", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=os.environ | {"DATABASE_URL": url}, text=True, stdout=subprocess.PIPE, check=True
    ).stdout


if __name__ == "__main__":
    sys.exit(main())
