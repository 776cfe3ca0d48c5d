"""The name of an anomaly, of runs made by hand: what each rule asks for, and what it must not be content with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from dbtools.races.anomaly import Anomaly
from dbtools.races.content import Content
from dbtools.races.footprint import Access, AccessKind, Change, Footprint
from dbtools.races.naming import name_anomaly
from dbtools.races.run import RunResult
from dbtools.races.trace import EventKind, Failure
from tests.support.traces import Tape

Rows = Mapping[str, str]
"""Keys of rows by relation: {"cards": "1 2"}."""
LOST = "the work of bob is lost."
BROKEN = Failure("invariant", "all is well")
WAITS = "ann waits for {0} on {1}; blocked by bob.\nbob waits for {0} on {2}; blocked by ann."


@dataclass(frozen=True)
class Do:
    """A step: what a program reads, writes, defines and locks. Its changes are committed unless it leaves them `open`.

    With `later`, it is answered only after the next step was sent.
    """

    actor: str
    reads: str = ""
    shares: str = ""
    locks: str = ""
    inserts: Rows = field(default_factory=dict)
    updates: Rows = field(default_factory=dict)
    deletes: Rows = field(default_factory=dict)
    writes: str = ""
    defines: str = ""
    sql: str = "select 2"
    tag: str = "SELECT 1"
    error: str = ""
    detail: str = ""
    open: bool = False
    later: bool = False


def name(*steps: Do, plain: bool = True, blind: bool = False, failures: Sequence[Failure] = (BROKEN,)) -> Anomaly:
    tape, footprint = Tape("ann", "bob", "cat"), Footprint(blind=blind)
    pending: dict[str, dict[str, dict[str, set[str]]]] = {}
    waiting = []
    for number, do in enumerate(steps, 1):
        step = tape.start(do.actor, do.sql)
        actor = do.actor.partition("#")[0]
        defined, locked = ([name] if name else [] for name in (do.defines, do.locks))
        written = [*dict.fromkeys([*do.inserts, *do.updates, *do.deletes, *do.writes.split()])]
        for kind, relations in (
            (AccessKind.READ, do.reads.split()),
            (AccessKind.SHARE, do.shares.split()),
            (AccessKind.WRITE, written),
            (AccessKind.DEFINE, defined),
            (AccessKind.LOCK, locked),
        ):
            footprint.accesses += [Access(number, kind, relation) for relation in relations]
        changes = pending.setdefault(do.actor, {})
        for how, rows in (("inserted", do.inserts), ("updated", do.updates), ("deleted", do.deletes)):
            for relation, keys in rows.items():
                changes.setdefault(relation, {}).setdefault(how, set()).update(keys.split())
        for relation in defined:
            changes.setdefault(relation, {}).setdefault("defined", set())
        if do.error:
            changes.clear()
        elif not do.open:
            footprint.changes += [
                Change(
                    number,
                    relation,
                    {key: {} for key in sorted(of.get("inserted", ()))},
                    frozenset(of.get("updated", ())),
                    frozenset(of.get("deleted", ())),
                    "defined" in of,
                )
                for relation, of in changes.items()
            ]
            changes.clear()
        step.detail = do.detail
        waiting.append((step, do, actor))
        if do.later:
            continue
        for begun, its, _ in waiting:
            if its.error:
                tape.refuse(begun, its.error, "it cannot be")
            else:
                tape.answer(begun, its.tag, "T" if its.open else "I")
        waiting.clear()
    tape.trace.failures += failures if not tape.trace.failures else ()
    assert [event.kind for event in tape.trace.events].count(EventKind.ENDED) == len(steps)
    return name_anomaly(RunResult(tape.trace, (), Content(), plain=plain, footprint=footprint))


def in_both_orders(*steps: Do) -> list[str]:
    """Return the names for the run, and for the same with the names of ann and bob exchanged."""
    other = {"ann": "bob", "bob": "ann"}
    return [name(*steps).name, name(*(Do(**{**vars(do), "actor": other.get(do.actor, do.actor)}) for do in steps)).name]


ONE, TWO = {"cards": "1"}, {"cards": "2"}


def test_a_lost_update_in_one_transaction_and_in_two() -> None:
    steps = [Do("ann", "cards", open=True), Do("bob", "cards"), Do("bob", updates=ONE), Do("ann", updates=ONE)]
    found = name(*steps)
    assert (found.name, found.why) == (
        "lost update",
        f"ann wrote row 1 of cards from what it had read before bob wrote it: {LOST}",
    )
    assert name(Do("ann", "cards"), *steps[1:]).why == (
        f"ann wrote row 1 of cards from what it had read before bob wrote it: {LOST}"
        " Steps 1 and 4 of ann are in different transactions, so no isolation level connects them."
    )
    assert in_both_orders(*steps) == ["lost update"] * 2


def test_the_update_that_is_lost_is_the_one_that_was_not_seen() -> None:
    found = name(Do("bob", updates=ONE), Do("ann", "cards"), Do("bob", updates=ONE), Do("ann", updates=ONE))
    assert found.evidence == [
        "ann -rw-> bob: cards. Step 2 read it, then step 3 changed row 1.",
        "bob -ww-> ann: cards. Step 3 changed row 1, then step 4 changed row 1.",
    ]


def test_rows_that_both_touch_but_do_not_both_update_are_no_lost_update() -> None:
    found = name(
        Do("ann", "cards"),
        Do("bob", deletes=ONE, updates=TWO),
        Do("ann", inserts=ONE, updates={"cards": "3"}),
    )
    assert (found.name, len(found.dependencies)) == ("read-write conflict", 2)
    assert found.why == "ann and bob meet in cards; the evidence does not decide for a narrower name."


def test_a_late_lock_and_what_is_none() -> None:
    def lock(actor: str) -> Do:
        return Do(actor, locks="advisory lock 7")

    reads, writes = Do("ann", "cards"), Do("ann", updates=ONE)
    theirs = [Do("bob", "cards"), Do("bob", updates=ONE)]
    found = name(reads, lock("bob"), *theirs, lock("ann"), writes)
    assert (found.name, found.why) == (
        "lock taken too late",
        "ann and bob both take advisory lock 7, but ann sees a state from before it has it (step 5):"
        " step 1 does not see what bob wrote under it.",
    )
    assert name(lock("ann"), reads, lock("bob"), *theirs, writes).name == "lost update"  # it is not late
    assert name(reads, lock("bob"), *theirs, writes, lock("ann")).name == "lost update"  # it is for something else
    assert name(reads, *theirs, lock("bob"), lock("ann"), writes).name == "lost update"  # the other one has none


def test_a_row_missed_behind_a_sequence_and_what_is_none() -> None:
    def events(keys: str) -> Rows:
        return {"events": keys}

    def slow(keys: str) -> Do:
        return Do("ann", inserts=events(keys), open=True)

    commit, copies = Do("ann"), Do("cat", inserts={"copied": "1"})
    found = name(slow("1 4"), Do("bob", inserts=events("2 3")), Do("cat", "events"), commit, copies)
    assert (found.name, found.why) == (
        "missed row behind a sequence",
        "cat had read row 3 of events when row 1 was committed:"
        " keys are handed out in order, but not committed in order.",
    )
    plain = [slow("1"), Do("bob", inserts=events("2")), Do("cat", "events"), commit]
    assert name(*plain).name == "missed row behind a sequence"
    assert name(*plain, Do("cat", inserts=events("3"))).name == "read-write conflict"  # it goes on by itself
    assert name(slow("5"), *plain[1:]).name == "read-write conflict"  # the keys are committed in order
    other = Do("bob", inserts={"orders": "2"})
    assert name(slow("1"), other, Do("cat", "events orders"), commit).name == "read-write conflict"
    later = [slow("1"), Do("cat", "events"), commit, Do("bob", inserts=events("2")), Do("cat", "events")]
    assert name(*later).name == "read skew"  # the reader is at 2 only when it sees 1


CLIENTS = ({"clients": "1"}, {"clients": "2"})


def test_check_then_insert_by_both_rows_and_by_the_key() -> None:
    looks = [Do("ann", "clients", open=True), Do("bob", "clients", open=True), Do("bob", inserts=CLIENTS[0])]
    both = name(*looks, Do("ann", inserts=CLIENTS[1]))
    assert (both.name, both.inserted) == ("check-then-insert (phantom)", "clients")
    assert both.why == (
        "ann looked into clients before bob had inserted, and then inserted as well: both rows are there."
        " What it looked for was not there, so no lock on a row could stop it."
    )
    refused = name(*looks, Do("ann", writes="clients", error="23505 clients_key"))
    assert refused.name == "check-then-insert (phantom)"
    assert "and then inserted as well: the unique key refuses the second row." in refused.why
    other = name(
        *looks[:2], Do("bob", inserts=CLIENTS[0], defines="clients"), Do("ann", writes="clients", error="22012")
    )
    assert other.name == "check-then-act"  # it fails by something else
    before = name(
        Do("bob", inserts=CLIENTS[0]),
        Do("ann", writes="clients", error="23505 clients_key"),
        Do("ann", "clients"),
        Do("bob", inserts=CLIENTS[1]),
    )
    assert before.name == "read-write conflict"  # it was refused before it looked
    rewritten = name(Do("ann", "clients"), looks[2], Do("ann", deletes=CLIENTS[0], inserts=CLIENTS[1]))
    assert rewritten.name == "read-write conflict"  # only one of the two had looked


def test_one_statement_that_looks_and_inserts() -> None:
    found = name(Do("ann", "clients", inserts=CLIENTS[0], later=True), Do("bob", "clients", inserts=CLIENTS[1]))
    assert found.name == "check-then-insert (phantom)"


def test_write_skew_and_its_phantoms() -> None:
    looks = [Do("ann", "cards"), Do("bob", "cards")]
    skew = name(*looks, Do("bob", updates=TWO), Do("ann", updates=ONE))
    assert (skew.name, skew.why) == (
        "write skew",
        "ann and bob each decide by what the other one changes, and neither sees the other's change;"
        " they change different rows, so no row lock meets.",
    )
    assert in_both_orders(*looks, Do("bob", updates=ONE), Do("ann", inserts=TWO)) == ["write skew with a phantom"] * 2
    assert in_both_orders(*looks, Do("bob", inserts=TWO), Do("ann", updates=ONE)) == ["write skew with a phantom"] * 2
    apart = [Do("ann", "clients", open=True), Do("bob", "cards", open=True)]
    found = name(*apart, Do("bob", inserts=CLIENTS[0]), Do("ann", inserts=ONE))
    assert found.name == "write skew with a phantom"  # each looks where the other one inserts
    meets = name(*looks, Do("bob", updates={**TWO, "log": "1"}), Do("ann", updates={**ONE, "log": "1"}))
    assert meets.name == "read-write conflict"  # a row lock meets


def test_skew_is_asked_before_a_write_in_vain() -> None:
    steps = [Do("ann", "cards"), Do("bob", "cards"), Do("bob", updates=TWO), Do("ann", updates=ONE)]
    assert name(*steps, Do("ann", writes="cards", tag="UPDATE 0")).name == "write skew"


MOVES = Do("bob", updates={"cards": "1", "tills": "2"})


def test_read_skew_and_what_is_none() -> None:
    found = name(Do("ann", "cards", open=True), MOVES, Do("ann", "tills"))
    assert (found.name, found.why) == (
        "read skew",
        "ann read cards before bob committed, and tills after: two states in one.",
    )
    assert len(found.dependencies) == 2
    again = name(Do("ann", "cards", open=True), MOVES, Do("ann", "cards"))
    assert again.why == "ann read cards before bob committed, and the same again after: two states in one."
    apart = name(Do("ann", "cards"), Do("bob", updates=ONE), Do("bob", updates={"tills": "2"}), Do("ann", "tills"))
    assert apart.name == "read-write conflict"  # of two transactions, the first may have been seen alone
    old = name(Do("ann", open=True), MOVES, Do("ann#2", "tills"), Do("ann", "cards"), plain=False)
    assert old.name == "read-write conflict"  # the old state is read last, by a snapshot that is kept
    failing = name(Do("ann", "cards"), MOVES, Do("ann", "tills", error="23503 tills_fkey"))
    assert failing.name == "check-then-act"  # the second read is the server's, and fails
    both = name(Do("ann", "cards"), MOVES, Do("ann", "tills"), Do("ann", error="22012"))
    assert both.name == "read skew"


def test_check_then_act_and_what_is_none() -> None:
    looks, closes = Do("ann", "cards"), Do("bob", deletes=ONE)
    failing = name(looks, closes, Do("ann", error="23503 visits_card_fkey"))
    assert (failing.name, failing.why) == (
        "check-then-act",
        "ann read cards before bob changed it, and acted on that: step 3 fails.",
    )
    assert name(looks, closes, Do("bob", error="22012")).name == "read-write conflict"  # another one fails
    assert name(Do("ann", error="22012"), looks, closes).name == "read-write conflict"  # it had failed before
    vain = Do("ann", writes="cards", tag="UPDATE 0")
    found = name(looks, closes, vain)
    assert (found.name, found.why) == (
        "check-then-act",
        "ann read cards before bob changed it, and acted on that: step 3 changes no row.",
    )
    for steps in (
        (looks, vain, closes),  # nobody had changed it yet
        (looks, closes, Do("ann", updates=TWO, tag="UPDATE 1")),  # it changes a row
        (looks, closes, Do("ann", "other", tag="SELECT 0")),  # it finds none elsewhere
        (looks, closes, Do("cat", writes="cards", tag="UPDATE 0")),  # it is another one
    ):
        assert name(*steps).name == "read-write conflict"


def test_a_deadlock_is_one_of_order_where_nothing_speaks_against_it() -> None:
    def of(*steps: Do, mode: str = "ShareLock", locks: Sequence[str] = ("transaction", "transaction")) -> str:
        detail = WAITS.format(mode, *locks)
        return name(*steps, Do("ann", error="40P01", detail=detail, writes="cards")).name

    assert of(Do("ann", updates=ONE)) == "deadlock by order"
    assert of(Do("ann", shares="cards")) == "deadlock"
    assert of(Do("ann", sql="select from cards for share")) == "deadlock"
    assert of(mode="ExclusiveLock", locks=("advisory lock 7", "advisory lock 7")) == "deadlock"
    assert of(mode="ExclusiveLock", locks=("advisory lock 7", "advisory lock 8")) == "deadlock by order"


def test_a_hang_and_a_blind_run() -> None:
    hangs = name(Do("ann", "cards"), failures=[Failure("hang", "hang", "ann#2 waits for ann.")])
    assert (hangs.name, hangs.evidence) == ("hang", ["ann#2 waits for ann."])
    steps = [Do("ann", "cards"), Do("bob", updates=ONE), Do("ann", updates=ONE)]
    assert name(*steps).name == "lost update"
    blind = name(*steps, blind=True)
    assert (blind.name, blind.why) == (
        "unknown",
        "A program locks one of the server's catalogues, so the run could not be observed.",
    )


def test_what_is_gone_by_another_ones_definition() -> None:
    found = name(
        Do("ann", defines="own"),
        Do("bob", defines="cards"),
        Do("ann", writes="cards", error="42P01"),
    )
    assert (found.name, found.why) == (
        "DDL race",
        "bob defines cards while ann needs something: step 3 of ann fails by that.",
    )
    assert found.evidence == [
        "bob -ww-> ann: cards. Step 2 defined it, then step 3 met it and failed.",
        "Step 3 of ann: 42P01 it cannot be",
    ]
    # It fails by the definition, although it has read before.
    looked = name(Do("ann", "cards"), Do("bob", defines="cards"), Do("ann", writes="cards", error="42P01"))
    assert looked.name == "DDL race"
    assert name(Do("bob", defines="other"), Do("ann", error="22012")).name == "unknown"  # by nothing of that


@pytest.mark.parametrize("error", ["42710", "23505 pg_type_typname_nsp_index"])
def test_both_define(error: str) -> None:
    create = "create table jobs ()"
    one = name(Do("ann", defines="jobs", sql=create), Do("bob", sql=create, error=error))
    assert (one.name, one.why) == (
        "DDL race",
        "ann defines jobs while bob also creates, alters or drops something: step 2 of bob fails by that.",
    )
    unseen = name(Do("bob", sql="create schema s"), Do("ann", sql="create schema s", error=error))
    assert unseen.why == "bob and ann create, alter or drop something at once: step 2 of ann fails by that."


def test_a_definition_that_another_one_comes_in_between() -> None:
    defines, comes = Do("ann", defines="cards"), Do("bob", inserts=ONE)
    found = name(defines, comes, Do("ann", writes="cards", error="23505 cards_pkey"))
    assert (found.name, found.why) == (
        "DDL race",
        "ann defines cards and goes on to use it as it has made it; bob comes in between.",
    )
    log = {"log": "1"}
    elsewhere = name(defines, Do("bob", inserts=ONE), Do("bob", updates=log), Do("ann", updates=log))
    assert elsewhere.name == "write-write conflict"
    assert name(defines, comes, Do("ann", "cards")).name == "write-write conflict"  # it reads what is there
    updates = [Do(actor, updates=ONE) for actor in ("ann", "bob", "ann")]
    assert name(*updates).name == "write-write conflict"  # nobody defines


def test_a_run_without_a_dependency() -> None:
    found = name(Do("ann", "cards"), Do("bob", "cards"))
    assert (found.name, found.why) == ("unknown", "No dependency between the programs was seen.")
