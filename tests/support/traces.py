"""Traces for tests, made by hand: what the scheduler would have written."""

from hypothesis import strategies as st

from dbtools.races.trace import End, Event, EventKind, Failure, Step, Trace

DUPLICATE = 'duplicate key value violates unique constraint "invoices_pkey"'
TOKEN = "pgr1-3f9a4be07c12-A3.B.A-06b9"


class Tape:
    """Writes a trace down. A session is called by its name: seed, seed#2."""

    def __init__(self, *actors: str) -> None:
        self.trace = Trace(actors)

    def start(self, session: str, sql: str, *, choice: bool = True) -> Step:
        """Release a step; the server does not answer yet."""
        actor = session.partition("#")[0]
        step = Step(len(self.trace.steps) + 1, actor, session, sql, choice=choice)
        self.trace.steps.append(step)
        self._event(EventKind.RELEASED, step)
        return step

    def block(self, step: Step, lock: str, *on: str) -> None:
        self.trace.events.append(Event(EventKind.BLOCKED, step.actor, step.number, on, lock))

    def wake(self, step: Step) -> None:
        self._event(EventKind.WOKEN, step)

    def answer(self, step: Step, tag: str = "", state: str = "I") -> Step:
        step.tag, step.transaction = tag, state
        self._event(EventKind.ENDED, step)
        return step

    def refuse(self, step: Step, error: str, message: str = "", state: str = "I", *, failure: bool = True) -> Step:
        """Answer with an error: "23505 invoices_pkey"."""
        step.sqlstate, _, step.subject = error.partition(" ")
        step.message, step.transaction = message, state
        self._event(EventKind.ENDED, step)
        if failure:
            self.trace.failures.append(Failure("error", error, message, step.number))
        return step

    def run(self, session: str, sql: str, tag: str = "", state: str = "I", *, choice: bool = True) -> Step:
        """Release a step that is answered at once."""
        return self.answer(self.start(session, sql, choice=choice), tag or sql.upper(), state)

    def finish(self, actor: str, code: int | None = 0, output: str = "") -> None:
        self.trace.events.append(Event(EventKind.FINISHED, actor))
        self.trace.ends.append(End(actor, code, output))
        if code:
            self.trace.failures.append(Failure("exit", f"{actor} failed", f"exit status {code}"))

    def _event(self, kind: EventKind, step: Step) -> None:
        self.trace.events.append(Event(kind, step.actor, step.number))


def incident() -> Trace:
    """A stops after TRUNCATE, B runs through, and A's insert collides with B's rows."""
    tape = Tape("reset", "seed")
    drop, create = "DROP TABLE IF EXISTS invoices", "CREATE TABLE IF NOT EXISTS invoices (id int PRIMARY KEY)"
    insert = "INSERT INTO invoices (id) VALUES (1), (2), (3), (4), (5)"
    tape.run("reset", drop, "DROP TABLE")
    tape.run("reset", create, "CREATE TABLE")
    tape.run("reset", "TRUNCATE invoices", "TRUNCATE TABLE")
    tape.run("seed", "BEGIN", state="T", choice=False)
    tape.run("seed", "TRUNCATE invoices", "TRUNCATE TABLE", "T")
    tape.run("seed", insert, "INSERT 0 5", "T")
    tape.run("seed", "COMMIT")
    tape.finish("seed")
    step = tape.start("reset", insert)
    tape.refuse(step, "23505 invoices_pkey", DUPLICATE)
    tape.finish("reset", 1, f"Traceback (most recent call last):\npsycopg.errors.UniqueViolation: {DUPLICATE}\n")
    return tape.trace


def lost_update() -> Trace:
    """Both read 100, both write: one of the two payments is gone. No step fails, an invariant does."""
    tape = Tape("alice", "bob")
    read = "SELECT balance FROM accounts WHERE id = 1"
    tape.run("alice", read, "SELECT 1")
    tape.run("bob", read, "SELECT 1")
    tape.run("bob", "UPDATE accounts SET balance = 90 WHERE id = 1", "UPDATE 1")
    tape.finish("bob")
    tape.run("alice", "UPDATE accounts SET balance = 80 WHERE id = 1", "UPDATE 1")
    tape.finish("alice")
    tape.trace.failures.append(Failure("invariant", "balance-is-sum", "1 row breaks it: account 1 has 80, not 70"))
    return tape.trace


def wait() -> Trace:
    """B's insert waits for A's transaction and dies when A commits."""
    tape = Tape("one", "two")
    tape.run("one", "BEGIN", state="T", choice=False)
    tape.run("one", "INSERT INTO t VALUES (1)", "INSERT 0 1", "T")
    tape.run("two", "DELETE FROM t", "DELETE 0")
    insert = tape.start("two", "INSERT INTO t VALUES (1)")
    tape.block(insert, "transaction", "one")
    tape.run("one", "SELECT count(*) FROM t", "SELECT 1", "T")
    commit = tape.start("one", "COMMIT")
    tape.wake(insert)
    tape.answer(commit, "COMMIT")
    tape.finish("one")
    tape.refuse(insert, "23505 t_pkey", 'duplicate key value violates unique constraint "t_pkey"')
    tape.finish("two", 1)
    return tape.trace


def deadlock() -> Trace:
    """Two transfers in opposite directions: the server ends one of them; its program rolls back and exits with 0."""
    tape = Tape("left", "right")
    first, second = (f"UPDATE accounts SET balance = balance - 1 WHERE id = {i}" for i in (1, 2))
    tape.run("left", "BEGIN", state="T", choice=False)
    tape.run("right", "BEGIN", state="T", choice=False)
    tape.run("left", first, "UPDATE 1", "T")
    tape.run("right", second, "UPDATE 1", "T")
    other = tape.start("left", second)
    tape.block(other, "transaction", "right")
    victim = tape.start("right", first)
    tape.block(victim, "transaction", "left")
    tape.wake(victim)
    tape.refuse(victim, "40P01", "deadlock detected", "E", failure=False)
    victim.detail = "right waits for left, left waits for right."
    rollback = tape.start("right", "ROLLBACK")
    tape.wake(other)
    tape.answer(rollback, "ROLLBACK")
    tape.answer(other, "UPDATE 1", "T")
    tape.finish("right")
    tape.run("left", "COMMIT")
    tape.finish("left")
    return tape.trace


def three() -> Trace:
    """C waits for A and B, and for a session outside the run."""
    tape = Tape("reader", "writer", "migration")
    tape.run("reader", "BEGIN", state="T", choice=False)
    tape.run("reader", "SELECT * FROM invoices", "SELECT 10", "T")
    tape.run("writer", "BEGIN", state="T", choice=False)
    tape.run("writer", "INSERT INTO invoices DEFAULT VALUES", "INSERT 0 1", "T")
    alter = tape.start("migration", "ALTER TABLE invoices ADD COLUMN tip int")
    tape.block(alter, "AccessExclusiveLock on invoices", "reader", "writer", "pid 4711 (psql)")
    late = tape.start("writer", "SELECT pg_advisory_lock(1196576591)")
    tape.block(late, "advisory lock 1196576591", "migration")
    tape.run("reader", "COMMIT")
    tape.finish("reader")
    tape.wake(late)
    tape.answer(late, "SELECT 1", "T")
    tape.run("writer", "COMMIT")
    tape.finish("writer")
    tape.wake(alter)
    tape.block(alter, "AccessExclusiveLock on invoices", "pid 4711 (psql)")
    tape.wake(alter)
    tape.answer(alter, "ALTER TABLE")
    tape.finish("migration")
    return tape.trace


def pool() -> Trace:
    """An actor with two sessions: its second one waits for its first."""
    tape = Tape("pool")
    tape.run("pool", "BEGIN", state="T", choice=False)
    tape.run("pool", "LOCK TABLE invoices", "LOCK TABLE", "T")
    step = tape.start("pool#2", "INSERT INTO invoices DEFAULT VALUES")
    tape.block(step, "RowExclusiveLock on invoices", "pool")
    tape.run("pool", "COMMIT")
    tape.wake(step)
    tape.answer(step, "INSERT 0 1")
    tape.finish("pool")
    return tape.trace


def long(steps: int = 600) -> Trace:
    """Two seeders of many statements. A is stopped once in the middle, and fails near its end."""
    tape = Tape("reset", "seed")
    half = steps // 2

    def run_statement(session: str, i: int) -> None:
        if i % 5 == 4:
            tape.run(session, f"SELECT id FROM clients WHERE id = {i}", "SELECT 1", "T")
        else:
            tape.run(session, f"INSERT INTO clients (id, name) VALUES ({i}, 'Ada')", "INSERT 0 1", "T")

    tape.run("reset", "BEGIN", state="T", choice=False)
    for i in range(half // 2):
        run_statement("reset", i)
    tape.run("reset", "TRUNCATE invoices", "TRUNCATE TABLE", "T")
    for i in range(half // 2, half - 3):
        run_statement("reset", i)
    tape.run("seed", "BEGIN", state="T", choice=False)
    for i in range(half - 4):
        run_statement("seed", i)
    step = tape.start("seed", "INSERT INTO invoices (id) VALUES (1)")
    tape.block(step, "AccessExclusiveLock on invoices", "reset")
    tape.run("reset", "COMMIT")
    tape.wake(step)
    tape.answer(step, "INSERT 0 1", "T")
    tape.run("seed", "COMMIT")
    tape.finish("seed")
    tape.refuse(tape.start("reset", "INSERT INTO invoices (id) VALUES (1)"), "23505 invoices_pkey", DUPLICATE)
    tape.finish("reset", 1, DUPLICATE)
    assert len(tape.trace.steps) == steps
    return tape.trace


def empty() -> Trace:
    """No actor sent anything."""
    return Trace(("reset", "seed"))


def stalled() -> Trace:
    """A waits for a session outside the run, and the lab ends it."""
    tape = Tape("reset", "seed")
    step = tape.start("reset", "TRUNCATE invoices")
    tape.block(step, "AccessExclusiveLock on invoices", "pid 4711 (psql)")
    tape.start("seed", "SELECT pg_sleep(3600)")
    tape.finish("reset", None)
    tape.trace.stalled = "seed has been in SELECT pg_sleep(3600) for 30 s and waits for no lock"
    return tape.trace


def hostile() -> Trace:
    """Text that tries to break out of its place."""
    tape = Tape("<b>A&B</b>", "q\"'--x")
    tape.run(
        "<b>A&B</b>", "SELECT '</script><script>alert(1)</script>' --\n&amp; ]]> <!-- \x00\x1b[31m\x7f\x9b", "SELECT 1"
    )
    tape.run(
        "q\"'--x", "SELECT '\u202egnp.exe \u05d0\u05d1 \ud800 \ufffe e\u0301 日本語 👩\u200d👩\u200d👧 🐶'", "SELECT 1"
    )
    tape.run("<b>A&B</b>", "/* a\nb */ INSERT INTO t VALUES " + ", ".join(["('x')"] * 15_000), "INSERT 0 15000")
    tape.run("q\"'--x", "", "")
    tape.run("q\"'--x", "SELECT " + "a" * 500, "SELECT 1")
    tape.refuse(tape.start("q\"'--x", "\tselect\n\t1/0"), "22012", "<i>division by zero</i>\x1b]0;x\x07")
    tape.finish("<b>A&B</b>", 3, "<img src=x onerror=alert(1)>\n\x1b[2Jcleared\ttab")
    tape.finish("q\"'--x")
    tape.trace.failures.append(Failure("invariant", "</style>", "\u2028</title>\nsecond line"))
    return tape.trace


def crowd() -> Trace:
    """Six programs with long names and four sessions each, all in a transaction; all wait for the first.

    Its texts have words too long for any line.
    """
    names = [f"the-program-of-department-{i}" for i in range(6)]
    tape = Tape(*names)
    for name in names:
        for session in (name, *(f"{name}#{i}" for i in (2, 3, 4))):
            tape.run(session, "BEGIN", state="T", choice=False)
            step = tape.start(session, "LOCK TABLE invoices")
            if session == names[0]:
                tape.answer(step, "LOCK TABLE", "T")
            else:
                tape.block(step, "AccessExclusiveLock on invoices", names[0])
    tape.refuse(tape.start(names[0], "x" * 300), f"42601 {'y' * 300}", "z" * 300, "E")
    tape.finish(names[0], 1, "w" * 300)
    tape.trace.stalled = f"everybody waits {'v' * 300}"
    return tape.trace


ALL = (incident, lost_update, wait, deadlock, three, pool, long, empty, stalled, hostile, crowd)


@st.composite
def random(draw: st.DrawFn) -> Trace:
    """Any run of up to three actors with two sessions each, even one that no scheduler would write."""
    actors = ("alpha", "beta", "gamma")[: draw(st.integers(1, 3))]
    tape = Tape(*actors)
    sessions = [actor + second for actor in actors for second in ("", "#2")]
    names = st.sampled_from([*sessions, "pid 4711 (psql)", "pid 0"])
    statements = st.sampled_from(["BEGIN", "INSERT INTO t VALUES (1)", "SELECT 1", "COMMIT"]) | st.text(max_size=60)
    open_steps: list[Step] = []
    for _ in range(draw(st.integers(0, 40))):
        what = draw(st.sampled_from(["run", "run", "run", "start", "block", "wake", "answer", "refuse", "finish"]))
        if what == "run":
            state = draw(st.sampled_from("ITE"))
            choice = draw(st.booleans())
            tape.run(
                draw(st.sampled_from(sessions)), draw(statements), draw(st.text(max_size=12)), state, choice=choice
            )
        elif what == "start":
            open_steps.append(tape.start(draw(st.sampled_from(sessions)), draw(statements)))
        elif what == "finish":
            tape.finish(draw(st.sampled_from(actors)), draw(st.sampled_from([0, 1, None])), draw(st.text(max_size=20)))
        elif open_steps:
            step = draw(st.sampled_from(open_steps))
            if what == "block":
                tape.block(step, draw(st.text(max_size=30)), *draw(st.lists(names, max_size=3, unique=True)))
            elif what == "wake":
                tape.wake(step)
            else:
                open_steps.remove(step)
                if what == "answer":
                    tape.answer(step, "INSERT 0 1", draw(st.sampled_from("ITE")))
                else:
                    error = f"23505 {draw(st.text(max_size=10))}"
                    tape.refuse(step, error, draw(st.text(max_size=40)), failure=draw(st.booleans()))
    return tape.trace
