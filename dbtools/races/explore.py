"""Many schedules of one scenario, and what they prove.

First every actor alone, one after the other, in every order: what those leave behind is what is right (unless the
scenario says otherwise, with `serial = false`). Then every schedule with 0 preemptions, 1, 2, up to a bound; then, if
asked for, random ones. It ends with the first failure (where the scenario expects one: with the first of that
kind), which is shrunk and replayed, or with a verdict:

- *violated*: something failed. The token leads to it again.
- *held*: nothing failed in any schedule of the bound, and it is known that this could have been otherwise: each actor
  sent SQL, a schedule took the turn from one that could go on, and the wait that the scenario names was seen.
- *inconclusive*: anything else, with the reason.

A statement is one step. What statements do to each other while both run, no schedule reaches; latches do.
"""

from __future__ import annotations

import time
from collections import Counter
from itertools import permutations
from typing import TYPE_CHECKING

from dbtools.races import token
from dbtools.races.execution.lab import Lab, Played
from dbtools.races.pruning import idle_waits
from dbtools.races.result import Explored, Verdict
from dbtools.races.shrink import shrink
from dbtools.races.strategies import Bounded, Replay, in_order, pct, preemptions, random_walk, runs_of
from dbtools.races.trace import Failure, Happened

if TYPE_CHECKING:
    from collections.abc import Callable

    from dbtools.races.scenario import Scenario
    from dbtools.races.strategies import Choose, Runs

BOUND = 2
SCHEDULES = 1_000
DEPTH = 3
MOST_ORDERS = 24
"""Serial orders that are run; with five actors there are 120."""
SERIAL = "one after the other"
REPLAYS = 2
"""Times that a failure must come again before it is reported."""
BLIND = "Statements were not overlapped: what two do to each other inside the server while both run was not tried."
LATCHED = "Statements were overlapped at the latches only."


def explore(
    scenario: Scenario,
    *,
    bound: int = BOUND,
    schedules: int = SCHEDULES,
    seconds: float = float("inf"),
    random: int = 0,
    depth: int = DEPTH,
    seed: int = 0,
    every: bool = False,
    major: int = 16,
    note: Callable[[str], None] = lambda _: None,
) -> Explored:
    """Try schedules until one fails, all with up to `bound` preemptions were tried, or `schedules` or `seconds` are up.

    `random` schedules by random walk and as many by PCT for races of this `depth`, from `seed`, follow. With `every`,
    schedules that differ from others only in when a wait for an advisory lock begins are run too. `note` is told how
    far it is.

    Raises:
        ServerError: The server did not start.
        ConfigurationError: The start state cannot be made, or an actor not be started.
    """
    with Lab(scenario, major) as lab:
        return _Exploration(lab, seed, note, every=every).run(bound, schedules, seconds, random, depth)


class _Exploration:
    def __init__(self, lab: Lab, seed: int, note: Callable[[str], None], *, every: bool = False) -> None:
        self._lab = lab
        self._every = every
        self._note = note
        self._out = Explored(lab.scenario, lab.major, silent={one.name for one in lab.scenario.actors}, seed=seed)
        self._serial: list[dict[str, str]] = []
        self._faults: Counter[str] = Counter()
        self._until = float("inf")
        self._longest = 1
        self._other: Played | None = None
        """The first failure, whatever it was."""

    def run(self, bound: int, schedules: int, seconds: float, random: int, depth: int) -> Explored:
        out, began = self._out, time.monotonic()
        self._until = began + seconds
        found = self.orders() or self._bounded(bound, schedules) or self._random(random, depth) or self._other
        if found is not None:
            self._violated(found)
        else:
            self._judge(bound)
        out.seconds = time.monotonic() - began
        return out

    def orders(self) -> Played | None:
        """Run every serial order twice, to know what is right; return a run that fails even so."""
        actors = list(range(len(self._lab.scenario.actors)))
        orders = list(permutations(actors))
        if len(orders) > MOST_ORDERS or not self._lab.scenario.serial:
            return None
        contents: list[dict[str, str]] = []
        for order in orders:
            both = [self._play(SERIAL, in_order(order), everybody=False) for _ in range(2)]
            if (wanted := next(filter(self._is_wanted, both), None)) is not None:
                return wanted
            if any(one.failure or one.diverged or one.trace.stalled for one in both):
                continue
            names = both[0].content.keys() | both[1].content.keys()
            self._out.unstable |= {one for one in names if both[0].content.get(one) != both[1].content.get(one)}
            contents.append(both[0].content)
        self._serial = contents
        return None

    def _bounded(self, bound: int, schedules: int) -> Played | None:
        search = Bounded(bound)
        for _ in range(schedules):
            runs = search.next()
            self._out.complete, self._out.left_out = search.depth - 1, search.left_out
            if runs is None or time.monotonic() > self._until:
                return None
            kind = f"{search.depth} switch{'' if search.depth == 1 else 'es'}"
            played = self._play(kind, Replay(runs))
            if self._is_wanted(played):
                return played
            search.learn(runs, played.choices, [] if self._every else idle_waits(played))
        if search.next() is None:
            self._out.complete, self._out.left_out = bound, search.left_out
        return None

    def _random(self, count: int, depth: int) -> Played | None:
        actors = len(self._lab.scenario.everybody)
        for number in range(count):
            if time.monotonic() > self._until:
                break
            seed = self._out.seed * 1_000_003 + number
            for kind, choose in (("random walk", random_walk(seed)), ("PCT", pct(seed, depth, actors, self._longest))):
                played = self._play(kind, choose)
                if self._is_wanted(played):
                    return played
        return None

    def _is_wanted(self, played: Played) -> bool:
        """Return whether the search ends here: with any failure, or with the one that the scenario expects."""
        if played.failure and self._other is None:
            self._other = played
        expect = self._lab.scenario.expect
        return expect in played.failure.split(", ") if expect else bool(played.failure)

    def _play(self, kind: str, choose: Choose, *, everybody: bool = True) -> Played:
        out, scenario = self._out, self._lab.scenario
        played = self.judged(self._lab.run(choose, None if everybody else scenario.actors))
        out.schedules[kind] += 1
        if played.failure:
            out.outcomes[played.failure] += 1
        out.silent -= {one.actor for one in played.trace.steps}
        out.switched = out.switched or preemptions(played.choices) > 0
        for lock in {one.lock for one in played.trace.events if one.kind is Happened.BLOCKED}:
            out.waits[lock] += 1
        if played.diverged or played.trace.stalled:
            self._faults[played.diverged or played.trace.stalled] += 1
        self._longest = max(self._longest, len(played.choices))
        if out.total % 25 == 0:
            self._note(f"{scenario.name}: {out.total} schedules ({kind})")
        return played

    def judged(self, played: Played) -> Played:
        """Return the run with the failure that its content is that of no serial order."""
        if not self._serial or played.failure or played.diverged or played.trace.stalled:
            return played
        names = {name for content in (played.content, *self._serial) for name in content} - self._out.unstable
        ends = [{name: content.get(name) for name in names} for content in (played.content, *self._serial)]
        if ends[0] not in ends[1:]:
            different = sorted(name for name in names if all(ends[0][name] != one[name] for one in ends[1:]))
            where = f"in {', '.join(different)}" if different else "in how its tables fit together"
            played.trace.failures.append(
                Failure("serial", "no serial order", f"The content differs from every serial order's {where}.")
            )
        return played

    def _violated(self, found: Played) -> None:
        out = self._out
        runs, wanted = runs_of(found.choices), found.failure
        latched = len(found.trace.actors) == len(self._lab.scenario.everybody)

        def play(runs: Runs) -> Played:
            actors = None if latched else self._lab.scenario.actors
            return self.judged(self._lab.run(Replay(runs), actors))

        out.shrunk_from = preemptions(found.choices)
        self._note(f"{self._lab.scenario.name}: {wanted} found after {out.total} schedules; shrinking")
        out.runs, out.played = shrink(found, play)
        out.repeated = True
        for number in range(1, REPLAYS + 1):
            again = play(out.runs)
            out.unsteady = out.unsteady or again.trace.steps != out.played.trace.steps
            out.repeated = out.repeated and again.trace.statements == out.played.trace.statements
            if again.failure != wanted:
                came = again.failure or again.diverged or again.trace.stalled or "no failure"
                out.reason = (
                    f"{wanted} was found, but replay {number} of its schedule {_letters(runs)} gave {came}:"
                    " something else than the schedule decides."
                )
                return
        out.verdict = Verdict.VIOLATED

    def _judge(self, bound: int) -> None:
        out, scenario = self._out, self._lab.scenario
        faults = [f"{count} of {out.total} schedules could not be judged: {one}" for one, count in self._faults.items()]
        missing = [one for one in [scenario.waits] if one and not any(one in seen for seen in out.waits)]
        if faults:
            out.reason = faults[0]
        elif out.silent:
            out.reason = f"{', '.join(sorted(out.silent))} sent no SQL."
        elif out.complete < min(1, bound):
            out.reason = f"Not even all schedules with 1 switch were tried: {out.total} are too few."
        elif not out.switched:
            out.reason = "No schedule took the turn from an actor: there is nothing to interleave."
        elif missing:
            out.reason = f"No schedule waited for {missing[0]}, so the lock was not tested."
        else:
            out.verdict = Verdict.HELD


def _letters(runs: Runs) -> str:
    return ".".join(f"{chr(65 + actor)}{'' if count is None else count}" for actor, count in runs)


def replay(scenario: Scenario, text: str, *, times: int = 1, major: int = 16) -> list[Played]:
    """Run the schedule of a token of this scenario so many times.

    Raises:
        ConfigurationError: It is no token.
        ServerError: The server did not start.
    """
    runs: Runs = tuple((ord(actor) - 65, count) for actor, count in token.decode(text).runs)
    with Lab(scenario, major) as lab:
        played = [lab.run(Replay(runs)) for _ in range(times)]
        exploration = _Exploration(lab, 0, lambda _: None)
        if not all(one.failure or one.diverged or one.trace.stalled for one in played):
            exploration.orders()  # only what has not failed is compared with them
        return [exploration.judged(one) for one in played]
