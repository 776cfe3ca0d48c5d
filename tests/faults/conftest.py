"""The faults' options, the server that rows share, and the table of figures at the end."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dbtools.config import Project
from dbtools.server.embedded import EmbeddedServer
from tests.faults import network
from tests.faults.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.faults.figures import Figure
    from tests.faults.record import Play


_records = pytest.StashKey[dict[str, Record]]()
"""By the name of the suite: faults, soak."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of both suites."""
    group = parser.getgroup("faults and soak")
    group.addoption("--full", action="store_true", help="many more rounds")
    group.addoption("--rounds", type=int, help="rounds of the soak")
    group.addoption("--every", type=float, default=2.0, help="seconds from one round of the soak to the next")
    group.addoption("--figures", type=Path, metavar="FILE", help="default: faults.json, soak.json in .dbtools/cache")


def pytest_configure(config: pytest.Config) -> None:
    """Begin the records."""
    config.stash[_records] = {}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the table of what was measured, and write it as JSON."""
    for suite, record in config.stash[_records].items():
        record.write(
            config.getoption("--figures", None) or Project.find(config.rootpath).cache / f"{suite}.json",
            full=config.getoption("--full", default=False),
        )
        terminalreporter.section(suite)
        terminalreporter.write_line(record.table())


@pytest.fixture
def full(pytestconfig: pytest.Config) -> bool:
    """Whether many more rounds are asked for."""
    return bool(pytestconfig.getoption("--full", default=False))


@pytest.fixture
def play(request: pytest.FixtureRequest) -> Play:
    """Measure the row that the test is named for."""
    suite = "soak" if request.node.get_closest_marker("soak") else "faults"
    record = request.config.stash[_records].setdefault(suite, Record())
    name = request.node.name.removeprefix("test_")
    return lambda title, figures: record.play(name, title, figures)


@pytest.fixture(scope="session")
def server() -> Iterator[EmbeddedServer]:
    """One server for all rows that do not harm it."""
    with EmbeddedServer.start() as started:
        yield started


@pytest.fixture(scope="session", autouse=True)
def network_figures(request: pytest.FixtureRequest) -> Iterator[Callable[[], list[Figure]] | None]:
    """Wait for the figures of the network's row. It only waits, so it is played while the other rows are."""
    if any(item.name == "test_network" for item in request.session.items):
        with network.cut() as figures:
            yield figures
    else:
        yield None
