"""What the plugin adds to pytest itself: options, the marker, and what a report says of a test's databases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from dbtools.testing.lending import FAILED, MARKER, RUN, SERVER, TAKEN, find_run, reach

if TYPE_CHECKING:
    from collections.abc import Generator

    from dbtools.races.fixture import Race


RACE_LIMITS = {
    "bound": "the most switches of the schedules that are tried",
    "schedules": "how many of these schedules are tried at most",
    "seconds": "how long a race is explored at most",
}
RACE: pytest.StashKey[Race] = pytest.StashKey()
"""The fixture `race` of a test."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    parser.getgroup("dbtools").addoption(
        "--pg-server", default="", help="start this PostgreSQL: a major version, or a folder with its programs"
    )
    parser.getgroup("dbtools").addoption(
        "--keep-databases",
        action="store_true",
        help="keep the databases of failed tests, on the project's own server where it would be a throwaway one",
    )
    parser.addini(
        "dbtools_server",
        "the server of the tests unless DBTOOLS_TEST_URL names one: embedded, container or project (the project's own)",
        default="embedded",
    )
    parser.getgroup("dbtools").addoption(
        "--race-token",
        default="",
        metavar="TOKEN",
        help="run the tests that use the fixture race alone, and of their races only the schedule of this token",
    )
    for name, what in RACE_LIMITS.items():
        parser.addini(f"dbtools_race_{name}", f"{what}, where a test of the fixture race says nothing else")


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, and refuse what is no token."""
    config.addinivalue_line("markers", MARKER)
    if text := config.getoption("race_token"):
        from dbtools.errors import ConfigurationError
        from dbtools.races import token

        try:
            token.decode(text)
        except ConfigurationError as error:
            raise pytest.UsageError(f"--race-token: {error}") from None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With --race-token leave out the tests that do not use the fixture `race`."""
    if config.getoption("race_token"):
        racing = [item for item in items if "race" in getattr(item, "fixturenames", ())]
        config.hook.pytest_deselected(items=[item for item in items if item not in racing])
        items[:] = racing


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker of pytest-xdist which folder the run shares."""
    node.workerinput["dbtools_run"] = str(find_run(node.config).folder)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over from a worker of pytest-xdist which server its tests ran on."""
    if line := getattr(node, "workeroutput", {}).get("dbtools_server"):
        node.config.stash[SERVER] = line


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Tell pytest-xdist which server the tests ran on."""
    if hasattr(session.config, "workeroutput") and SERVER in session.config.stash:
        session.config.workeroutput["dbtools_server"] = session.config.stash[SERVER]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print which server the tests ran on, and the replays that did not fail."""
    if SERVER in config.stash:
        terminalreporter.write_line(config.stash[SERVER])
    if config.getoption("race_token"):
        for report in terminalreporter.getreports("passed"):
            for name, text in report.sections:
                if name == "Captured race call":
                    terminalreporter.write_line(text)


def pytest_unconfigure(config: pytest.Config) -> None:
    """End what was started for the run."""
    if RUN in config.stash:
        config.stash[RUN].close()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Begin anew: a test may be run several times."""
    item.stash[TAKEN], item.stash[FAILED] = [], False


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Fail a test that was to replay a token and has not."""
    result = yield
    if race := item.stash.get(RACE, None):
        race.require_replay()
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Say in the report of a failed test how to reach its databases."""
    report = yield
    if report.failed and not item.stash[FAILED]:
        item.stash[FAILED] = True
        for client, database in item.stash[TAKEN]:
            report.sections.append(("the test's database", reach(client, database)))
    return report
