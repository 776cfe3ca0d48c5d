"""Runs as text: some whole pictures, and properties of all pictures."""

import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbtools.races.render import text
from dbtools.races.render.sanitize import columns, output
from dbtools.races.trace import Trace
from tests.support import traces

PICTURES = {
    "incident": """
   #    A reset                                         B seed
   1    DROP TABLE IF EXISTS invoices
   2    CREATE TABLE IF NOT EXISTS invoices (id int…
   3    TRUNCATE invoices
        ~~ preempted, B goes on ~~~~~~~~~~~~~~~~~~~~
   4                                                  ┌ · BEGIN
   5                                                  │ TRUNCATE invoices
   6                                                  │ INSERT INTO invoices (id) VALUES (… → 5 rows
   7                                                  └ COMMIT
                                                        ■ exit 0
✗  8    INSERT INTO invoices (id) VALUES (1), (2),…
        ✗ 23505 invoices_pkey: duplicate key value…
✗       ■ exit 1

│ in a transaction   · not chosen by the schedule   ~~ the turn is taken   ✗ a failure

A reset: exit 1
  | Traceback (most recent call last):
  | psycopg.errors.UniqueViolation: duplicate key value violates unique constraint "invoices_pkey"
B seed: exit 0

✗ error 23505 invoices_pkey (step 8): duplicate key value violates unique constraint "invoices_pkey"
✗ exit reset failed: exit status 1

Token: pgr1-3f9a4be07c12-A3.B.A-06b9
Replay: invoke race.replay pgr1-3f9a4be07c12-A3.B.A-06b9
""",
    "lost_update": """
   #    A alice                                         B bob
   1    SELECT balance FROM accounts WHERE… → 1 row
        ~~ preempted, B goes on ~~~~~~~~~~~~~~~~~~~~
   2                                                    SELECT balance FROM accounts WHERE… → 1 row
   3                                                    UPDATE accounts SET balance = 90 WH… → 1 row
                                                        ■ exit 0
   4    UPDATE accounts SET balance = 80 WH… → 1 row
        ■ exit 0

~~ the turn is taken

A alice: exit 0
B bob: exit 0

✗ invariant balance-is-sum: 1 row breaks it: account 1 has 80, not 70
""",
    "wait": """
   #    A one                               B two
   1  ┌ · BEGIN
   2  │ INSERT INTO t VALUES (1) → 1 row
      │ ~~ preempted, B goes on ~~~~~~~~
   3  │                                     DELETE FROM t → 0 rows
   4  │                                     INSERT INTO t VALUES (1)
      │◀───────────────────────────────── ┏ waits for A: transaction
   5  │ SELECT count(*) FROM t → 1 row    ┃
   6  └ COMMIT                            ┃
        ■ exit 0                          ┃
✗                                         ┗ ✗ 23505 t_pkey: duplicate key value violates unique con…
✗                                           ■ exit 1

│ in a transaction   ┃ waits   · not chosen by the schedule   ~~ the turn is taken   ✗ a failure

A one: exit 0
B two: exit 1

✗ error 23505 t_pkey (step 4): duplicate key value violates unique constraint "t_pkey"
✗ exit two failed: exit status 1
""",
    "deadlock": """
   #    A left                                          B right
   1  ┌ · BEGIN
   2  │                                               ┌ · BEGIN
   3  │ UPDATE accounts SET balance = balan… → 1 row  │
      │ ~~ preempted, B goes on ~~~~~~~~~~~~~~~~~~~~  │
   4  │                                               │ UPDATE accounts SET balance = balan… → 1 row
      │                                               │ ~~ preempted, A goes on ~~~~~~~~~~~~~~~~~~~~
   5  │ UPDATE accounts SET balance = balance - 1 W…  │
      ┏ waits for B: transaction ────────────────────▶│
   6  ┃                                               │ UPDATE accounts SET balance = balance - 1 W…
      ┃◀───────────────────────────────────────────── ┏ waits for A: transaction
      ┃                                               ┗ ! 40P01: deadlock detected
   7  ┃                                               └ ROLLBACK
      ┗ step 5 goes on → 1 row
      │                                                 ■ exit 0
   8  └ COMMIT
        ■ exit 0

│ in a transaction   ┃ waits   · not chosen by the schedule   ~~ the turn is taken   ! an error

A left: exit 0
B right: exit 0

No failure.
""",
    "three": """
   #    A reader                            B writer                               C migration
   1  ┌ · BEGIN
   2  │ SELECT * FROM invoices → 10 rows
      │ ~~ preempted, B goes on ~~~~~~~~
   3  │                                   ┌ · BEGIN
   4  │                                   │ INSERT INTO invoices DEFAU… → 1 row
      │                                   │ ~~ preempted, C goes on ~~~~~~~~~~~
   5  │                                   │                                        ALTER TABLE invoices ADD COLUMN ti…
      │◀──────────────────────────────────│◀──────────────────────────────────── ┏ waits for A, B, pid 4711 (psql): A…
   6  │                                   │ SELECT pg_advisory_lock(1196576591)  ┃
      │                                   ┏ waits for C: advisory lock 1196576… ▶┃
   7  └ COMMIT                            ┃                                      ┃
        ■ exit 0                          ┃                                      ┃
                                          ┗ step 6 goes on → 1 row               ┃
   8                                      └ COMMIT                               ┃
                                            ■ exit 0                             ┃
                                                                                 ┃ waits for pid 4711 (psql): AccessE…
                                                                                 ┗ step 5 goes on
                                                                                   ■ exit 0

│ in a transaction   ┃ waits   · not chosen by the schedule   ~~ the turn is taken

A reader: exit 0
B writer: exit 0
C migration: exit 0

No failure.
""",
    "pool": """
   #     A pool
   1  ┌  · BEGIN
   2  │  LOCK TABLE invoices
   3  │  #2 INSERT INTO invoices DEFAULT VALUES
      │┏ #2 waits for A: RowExclusiveLock on invoices
   4  └┃ COMMIT
       ┗ #2 step 3 goes on → 1 row
         ■ exit 0

│ in a transaction   ┃ waits   · not chosen by the schedule

A pool: exit 0

No failure.
""",
    "long": """
    #    A reset                                         B seed
    1  ┌ · BEGIN
    2  │ INSERT INTO clients (id, name) VALU… → 1 row
    3  │ INSERT INTO clients (id, name) VALU… → 1 row
    ⋮  │ … 148 more steps: 118 INSERT, 30 SELECT
  152  │ TRUNCATE invoices
    ⋮  │ … 144 more steps: 116 INSERT, 28 SELECT
  297  │ SELECT id FROM clients WHERE id = 2… → 1 row
  298  │ INSERT INTO clients (id, name) VALU… → 1 row
  299  │ INSERT INTO clients (id, name) VALU… → 1 row
       │ ~~ preempted, B goes on ~~~~~~~~~~~~~~~~~~~~
  300  │                                               ┌ · BEGIN
  301  │                                               │ INSERT INTO clients (id, name) VAL… → 1 row
  302  │                                               │ INSERT INTO clients (id, name) VAL… → 1 row
    ⋮  │                                               │ … 292 more steps: 234 INSERT, 58 SELECT
  595  │                                               │ SELECT id FROM clients WHERE id =… → 1 row
  596  │                                               │ INSERT INTO clients (id, name) VAL… → 1 row
  597  │                                               │ INSERT INTO invoices (id) VALUES (1)
       │◀───────────────────────────────────────────── ┏ waits for A: AccessExclusiveLock on invoic…
  598  └ COMMIT                                        ┃
                                                       ┗ step 597 goes on → 1 row
         ~~ preempted, B goes on ~~~~~~~~~~~~~~~~~~~~  │
  599                                                  └ COMMIT
                                                         ■ exit 0
✗ 600    INSERT INTO invoices (id) VALUES (1)
         ✗ 23505 invoices_pkey: duplicate key value…
✗        ■ exit 1

│ in a transaction   ┃ waits   · not chosen by the schedule   ~~ the turn is taken   ✗ a failure

A reset: exit 1
  | duplicate key value violates unique constraint "invoices_pkey"
B seed: exit 0

✗ error 23505 invoices_pkey (step 600): duplicate key value violates unique constraint "invoices_pkey"
✗ exit reset failed: exit status 1
""",
    "stalled": """
   #    A reset                                                    B seed
   1    TRUNCATE invoices
      ┏ waits for pid 4711 (psql): AccessExclusiveLock on invo…
   2  ┃                                                            SELECT pg_sleep(3600) → no answer
      ┗ ■ ended by the lab

┃ waits

A reset: ended by the lab

Stalled, and proves nothing: seed has been in SELECT pg_sleep(3600) for 30 s and waits for no lock
""",
    "hostile": r"""
   #    A <b>A&B</b>                                    B q"'--x
   1    SELECT '</script><script>alert(1)</… → 1 row
        ~~ preempted, B goes on ~~~~~~~~~~~~~~~~~~~~
   2                                                    SELECT '\u202egnp.exe אב \ud800 \uf… → 1 row
                                                        ~~ preempted, A goes on ~~~~~~~~~~~~~~~~~~~~
   3    INSERT INTO t VALUES ('x'), (… → 15,000 rows
        ~~ preempted, B goes on ~~~~~~~~~~~~~~~~~~~~
   4                                                    (no text)
   5                                                    SELECT aaaaaaaaaaaaaaaaaaaaaaaaaaaa… → 1 row
✗  6                                                    select 1/0
                                                        ✗ 22012: <i>division by zero</i>␛]0;x␇
✗       ■ exit 3
                                                        ■ exit 0

~~ the turn is taken   ✗ a failure

A <b>A&B</b>: exit 3
  | <img src=x onerror=alert(1)>
  | cleared    tab
B q"'--x: exit 0

✗ error 22012 (step 6): <i>division by zero</i>␛]0;x␇
✗ exit <b>A&B</b> failed: exit status 3
✗ invariant </style>: </title> second line
""",
}
WIDTHS = {"three": 118}


@pytest.mark.parametrize("name", PICTURES)
def test_the_whole_picture(name: str) -> None:
    token = traces.TOKEN if name == "incident" else ""
    drawn = text(getattr(traces, name)(), width=WIDTHS.get(name, 100), token=token)
    assert f"\n{drawn}\n" == PICTURES[name]


def test_a_run_without_steps() -> None:
    assert text(traces.empty()) == "   #    A reset    B seed\n\nNo step was run."


@pytest.mark.parametrize("make", traces.ALL)
def test_colour_adds_nothing_but_colour(make: Callable[[], Trace]) -> None:
    colored = text(make(), color=True)
    assert make is traces.empty or "\x1b[" in colored
    assert [line.rstrip() for line in re.sub("\x1b\\[[0-9;]+m", "", colored).split("\n")] == text(make()).split("\n")


def test_whole_shows_every_step() -> None:
    lines = text(traces.long(), whole=True).split("\n")
    assert [int(line[1:5]) for line in lines if re.match("[ ✗] +[0-9]+ ", line)] == list(range(1, 601))


def test_600_steps_fit_on_a_page() -> None:
    assert len(text(traces.long()).split("\n")) < 50


@given(traces.random(), st.integers(70, 200))
def test_every_run_can_be_drawn_in_its_width(trace: Trace, width: int) -> None:
    drawn = text(trace, width=width, whole=True)
    lanes = drawn.split("\n\n")[0].split("\n")
    assert all(columns(line) <= width for line in lanes)
    assert all(character.isprintable() or character in "\n\u200d" for character in drawn)
    numbers = [int(line[1:4]) for line in lanes[1:] if line[1:4].strip().isdigit()]
    assert numbers == [step.number for step in trace.steps]


def test_wide_characters_move_nothing_out_of_its_column() -> None:
    tape = traces.Tape("a", "b")
    for sql in ("SELECT '日本語'", "SELECT 'e\u0301e\u0301'", "SELECT '🐶🐶'", "SELECT 'x'"):
        tape.run("a", sql, "SELECT 1")
    tape.run("b", "SELECT 2", "SELECT 1")
    step = tape.start("b", "LOCK t")
    tape.block(step, "lock", "a")
    assert text(tape.trace, width=60).split("\n")[1:9] == [
        "   1    SELECT '日本語' → 1 row",
        "   2    SELECT 'e\u0301e\u0301' → 1 row",
        "   3    SELECT '🐶🐶' → 1 row",
        "   4    SELECT 'x' → 1 row",
        "        ~~ preempted, B goes on",
        "   5                               SELECT 2 → 1 row",
        "   6                               LOCK t",
        "       ◀──────────────────────── ┏ waits for A: lock",
    ]
    wide = traces.Tape("日本", "b")
    wide.run("日本", "SELECT '日本語日本語日本語日本語日本語日本語'", "SELECT 1")
    wide.run("b", "SELECT 1", "SELECT 1")
    assert text(wide.trace, width=60).split("\n")[1] == "   1    SELECT '日本語日本語日… → 1 row"
    assert text(wide.trace, width=58).split("\n")[1] == "   1    SELECT '日本語日本語… → 1 row"


def test_text_that_is_invisible_is_shown() -> None:
    """Tag characters, a zero-width space and a right-to-left override would hide or change what is read."""
    tape = traces.Tape("a")
    tape.run("a", "SELECT '\U000e0041\u200b\u202e'", "SELECT 1")
    assert text(tape.trace).split("\n")[1] == r"   1    SELECT '\U000e0041\u200b\u202e' → 1 row"


@pytest.mark.parametrize(
    ("printed", "lines"),
    [
        ("\x1b[1;31mred\x1b[0m \x1b(Band \x1b7plain\x1b8\x07\r\n", ["red and plain"]),
        ("\x1b]0;a title\x07one\x1b]8;;http://x\x1b\\two\x1bPq#0\x1b\\\x9b1m", ["onetwo"]),
        ("\x1b[2Ka\r\x1b[2Kab\nspin |\rspin /\rdone\r\n50%\r100%\r", ["ab", "done", "100%"]),
        ("cut off\x1b", ["cut off␛"]),
    ],
)
def test_what_a_terminal_does_not_show_is_left_out_of_a_programs_output(printed: str, lines: list[str]) -> None:
    assert output(printed) == lines
