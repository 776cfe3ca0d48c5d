"""What a phase's error says: why it failed, in which state the database is, and what to do."""

from __future__ import annotations

import psycopg
import pytest

from dbtools.chain.phase import COMMIT_UNKNOWN, NOT_COMMITTED, ROLLED_BACK, Outcome, hint, phase
from dbtools.errors import ChainFailed, ConfigurationError

HINTS = [
    ("42P01", "reset", "", "The migrations create no such table"),
    ("42P01", "seed", "", "The tables are not there"),
    ("23505", "reset", "", "The rows of the application repeat a key, or one that the migrations insert"),
    ("23505", "seed", "", "The rows repeat a key, or another program inserted one meanwhile"),
    ("0A000", "reset", "COPY FROM not supported with row-level security", "Connect as a role with BYPASSRLS"),
    ("0A000", "reset", "something else is not supported", "Read the server's answer above"),
    ("42704", "reset", 'role "auditor" does not exist', "The content names this role in a grant"),
    ("42704", "reset", 'type "mood" does not exist', "Read the server's answer above"),
    ("42501", "reset", "", "Connect as the role that owns the database"),
    ("55P03", "reset", "", "Another session uses something that it needs"),
    ("53100", "reset", "", "Make room on the server's disk"),
    ("53200", "reset", 'increase "max_locks_per_transaction"', "Raise max_locks_per_transaction"),
    ("53200", "reset", "increase max_pred_locks_per_transaction", "Give the server more memory"),
    ("57P01", "reset", "", "The connection to the server broke"),
    ("22012", "reset", "", "Read the server's answer above"),
]


@pytest.mark.parametrize(("sqlstate", "action", "words", "beginning"), HINTS)
def test_the_servers_answer_says_what_to_do(sqlstate: str, action: str, words: str, beginning: str) -> None:
    assert hint(psycopg.errors.lookup(sqlstate)(words), action).startswith(beginning)


def test_a_connection_that_broke_by_itself_has_no_sqlstate() -> None:
    broken = psycopg.OperationalError("server closed the connection unexpectedly")
    assert hint(broken, "reset").startswith("The connection to the server broke")


@pytest.mark.parametrize(
    ("error", "state", "said"),
    [
        (psycopg.OperationalError("it is gone"), ROLLED_BACK, NOT_COMMITTED),
        (psycopg.OperationalError("it is gone"), COMMIT_UNKNOWN, COMMIT_UNKNOWN),
        (psycopg.errors.AdminShutdown("it ended us"), ROLLED_BACK, ROLLED_BACK),
        (psycopg.errors.UniqueViolation("twice"), ROLLED_BACK, ROLLED_BACK),
        (psycopg.ProgrammingError("no statement"), ROLLED_BACK, ROLLED_BACK),
    ],
)
def test_only_what_can_be_seen_is_said_of_the_state(error: psycopg.Error, state: str, said: str) -> None:
    with pytest.raises(ChainFailed) as caught, phase("seed", state, Outcome("reset")):
        raise error
    assert (caught.value.what, caught.value.why, caught.value.state) == ("The seed phase failed.", f"{error}.", said)
    with pytest.raises(ChainFailed) as caught, phase("seed", state, Outcome("reset")):
        raise ChainFailed("It was not to be.", "", "Begin again.") from error
    assert (caught.value.what, caught.value.state) == ("It was not to be.", said)


def test_every_end_is_timed_and_an_interruption_is_told_the_state() -> None:
    outcome = Outcome()
    with pytest.raises(KeyboardInterrupt) as caught, phase("seed", ROLLED_BACK, outcome):
        raise KeyboardInterrupt
    assert caught.value.__notes__ == [f"In the seed phase. {ROLLED_BACK}"]
    outcome.seconds["seed"] = 100.0
    with phase("seed", ROLLED_BACK, outcome):
        pass
    assert outcome.seconds.keys() == {"seed"}
    assert outcome.seconds["seed"] >= 100.0


def test_a_pooler_in_statement_mode_is_named() -> None:
    refused = psycopg.errors.ProtocolViolation("server does not allow transactions: statement pooling")
    with pytest.raises(ConfigurationError, match="A pooler in statement mode"), phase("lock", "", Outcome()):
        raise refused
    with pytest.raises(ChainFailed, match="The lock phase failed"), phase("lock", "", Outcome()):
        raise psycopg.errors.ProtocolViolation("something else")
