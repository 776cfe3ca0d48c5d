"""Judges runs by what the programs do one after the other.

What fails in a serial order as well is no race: neither a program that always fails, nor one that another's work makes
fail whenever it comes later. What a serial order leaves behind counts as right, unless the scenario says `serial =
false`. A program that refuses by design (`allow`) may leave out its work; then the others' orders without it are right.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from itertools import permutations
from typing import TYPE_CHECKING

from dbtools.errors import NOT_RUN, ConfigurationError
from dbtools.races.comparison import Comparison
from dbtools.races.differences import differences
from dbtools.races.render.rows import describe_exit
from dbtools.races.render.sanitize import output
from dbtools.races.run import name_of
from dbtools.races.trace import Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from dbtools.races.content import Content
    from dbtools.races.execution.lab import Lab
    from dbtools.races.run import RunResult
    from dbtools.races.scenario import Scenario

MAX_ORDERS = 24
"""With more serial orders than this, only the first and the last are run, for their failures: five actors have 120."""
MAX_DOUBTS = 2
"""How often a content that no order leaves makes us look whether the orders still leave what they did."""
MAX_LINES = 3
"""How many of a program's last lines are shown."""
MARGIN_S = 0.5
"""How much longer than twice its longest sleep a program is waited for."""
HANG = "hang"


@dataclass(frozen=True)
class Outcome:
    """What a serial order came to."""

    order: tuple[int, ...]
    failures: frozenset[str]
    content: Content


class Judge:
    """Knows what is right. `run` runs the actors with these numbers one after the other."""

    def __init__(self, lab: Lab, run: Callable[[Sequence[int]], RunResult]) -> None:
        self._scenario = lab.scenario
        self._lab = lab
        self._run = run
        self._comparison = Comparison(lab.start, lab.scenario.ignore)
        self._outcomes: list[Outcome] = []
        self._without: dict[frozenset[int], list[Outcome]] = {}
        """The outcomes without some of the actors."""
        self._uncompared = ""
        """Why contents are not compared."""
        self._doubts = 0
        self.alone = ""
        """What fails one after the other, in a sentence; "" if nothing does."""
        self.last_words: list[str] = []
        """How the programs ended one after the other, and the last lines of what they printed."""

    @property
    def not_compared(self) -> list[str]:
        """What of the contents was not compared, in words."""
        return [self._uncompared] if self._uncompared else self._comparison.not_compared

    def under(self, scenario: Scenario) -> Judge:
        """Return a judge with the same serial orders, for the same programs with something changed around them."""
        other = copy(self)
        other._scenario = scenario  # noqa: SLF001 - its own class
        return other

    def run_serial_orders(self) -> bool:
        """Run the serial orders, to know what is right; return whether schedules can show any more.

        Raises:
            ConfigurationError: The scenario ignores what there is not.
        """
        orders = list(permutations(range(len(self._scenario.actors))))
        if not self._scenario.serial:
            self._uncompared = "the content (serial = false)"
        elif len(orders) > MAX_ORDERS:
            self._uncompared = f"the content ({len(self._scenario.actors)} programs have {len(orders):,} serial orders)"
            orders = [orders[0], orders[-1]]
        every: list[RunResult] = []
        for order in orders:
            runs = [self._run(order)]
            if not (self._uncompared or runs[0].overtaken or runs[0].cut):
                runs.append(self._run(order))
            every += runs
            if runs[-1].cut:
                return False
            self._learn(order, runs)
        self._wait_for_sleepers(every)
        if unknown := self._comparison.unknown([run.content for run in every]):
            raise ConfigurationError(
                f"The scenario {self._scenario.name} ignores {', '.join(unknown)}.",
                "Neither the start state nor what the programs leave has such a table or column.",
                "Correct ignore: it names tables, and columns as table.column; with the schema where it is not public.",
                NOT_RUN,
            )
        if not self._uncompared and not self._outcomes:
            self._uncompared = "the content (no program ends before another one has to go on)"
        return not all(run.failures and self._is_serial(run) for run in every) or self._scenario.expect == HANG

    def run_first_order(self) -> None:
        """Run one serial order, to know how long the programs sleep."""
        self._wait_for_sleepers([self._run(range(len(self._scenario.actors)))])

    def _wait_for_sleepers(self, runs: Sequence[RunResult]) -> None:
        """Let schedules wait for a program that comes back by itself: else chance decides how far the others get."""
        self._lab.patience = min(2 * max(run.slept for run in runs) + MARGIN_S, self._scenario.limits.hang)

    def _learn(self, order: tuple[int, ...], runs: Sequence[RunResult]) -> None:
        self.last_words = self.last_words if self.alone else list(_last_words(runs[-1]))
        for run in runs:
            if run.failures and self._is_serial(run) and not self.alone:
                names = ", then ".join(self._scenario.actors[number].name for number in order)
                why = " ".join(failure.detail for failure in run.trace.failures)
                self.alone = f"It fails also one after the other ({names}): no race. {why}"
                self.last_words = list(_last_words(run))
        if not all(map(self._is_serial, runs)):
            return
        if len({run.failures for run in runs}) == 1 < len(runs):
            self._comparison.learn(runs[0].content, runs[1].content)
        self._outcomes += [Outcome(order, run.failures, run.content) for run in runs]

    def _is_serial(self, run: RunResult) -> bool:
        """Return whether the programs came one after the other, and none needed another one that came later."""
        return not (run.unjudged or run.overtaken or run.trace.starved)

    def tolerate(self, run: RunResult) -> None:
        """Set failures aside that are none: refusals by design, and all of a run in which a program was starved."""
        trace, allow = run.trace, self._scenario.allow
        tolerated = [failure for failure in trace.failures if trace.starved or allows(allow, failure)]
        trace.tolerated += tolerated
        trace.failures[:] = [failure for failure in trace.failures if failure not in tolerated]

    def judge(self, run: RunResult) -> RunResult:
        """Return the run without the failures that a serial order has as well, and with one if its content is wrong."""
        trace = run.trace
        if run.unjudged or trace.starved or HANG in run.failures & {self._scenario.expect}:
            return run
        alike = [outcome for outcome in self._outcomes if outcome.failures == run.failures]
        if run.failures and not alike:
            alike = [outcome for outcome in self._outcomes_of(run) if outcome.failures == run.failures]
        if run.failures and not alike:
            return run
        if self._uncompared or self._is_right(run, alike):
            trace.tolerated += trace.failures
            trace.failures.clear()
        else:
            orders = [(outcome.order, outcome.content) for outcome in alike]
            names = [actor.name for actor in self._scenario.actors]
            labelled = [(", ".join(names[number] for number in order), content) for order, content in orders]
            different = differences(self._comparison, run.content, labelled)
            where = (
                f"in {', '.join(table.table for table in different)}" if different else "in how its rows fit together"
            )
            detail = f"The content differs from every serial order's {where}."
            trace.failures.append(Failure("serial", "no serial order", detail, differences=different))
        return run

    def _is_right(self, run: RunResult, alike: Sequence[Outcome]) -> bool:
        if self._is_one_of(run, alike) or not alike:
            return True
        if self._doubts < MAX_DOUBTS:
            # What looked the same in two runs may be a clock that shows seconds.
            self._doubts += 1
            for outcome in {outcome.order: outcome for outcome in alike}.values():
                again = self._run(outcome.order)
                if self._is_serial(again) and again.failures == outcome.failures:
                    self._comparison.learn(outcome.content, again.content)
            if self._is_one_of(run, alike):
                return True
        return self._is_one_of(run, [outcome for outcome in self._outcomes_of(run) if not outcome.failures])

    def _is_one_of(self, run: RunResult, outcomes: Sequence[Outcome]) -> bool:
        return any(self._comparison.same(run.content, outcome.content) for outcome in outcomes)

    def _outcomes_of(self, run: RunResult) -> list[Outcome]:
        """Return what the serial orders come to without the actors that have refused by design in a run, if any has."""
        refused = {failure.actor for failure in run.trace.tolerated} - {""}
        numbers = frozenset(number for number, actor in enumerate(self._scenario.actors) if actor.name in refused)
        return self._outcomes_without(numbers) if numbers else []

    def _outcomes_without(self, numbers: frozenset[int]) -> list[Outcome]:
        """Return what the serial orders of all other actors come to."""
        if numbers not in self._without:
            rest = [number for number in range(len(self._scenario.actors)) if number not in numbers]
            found = [(order, self._run(order)) for order in permutations(rest)]
            self._without[numbers] = [
                Outcome(order, run.failures, run.content) for order, run in found if self._is_serial(run)
            ]
        return self._without[numbers]


def allows(allow: Sequence[str], failure: Failure) -> bool:
    """Return whether a failure is allowed: by its name, or an error by its SQLSTATE alone."""
    name = name_of(failure)
    return name in allow or (failure.kind == "error" and name.partition(" ")[0] in allow)


def _last_words(run: RunResult) -> Iterator[str]:
    for end in run.trace.ends:
        yield f"{end.actor}: {describe_exit(end.code)}"
        yield from (f"  | {line}" for line in output(end.output)[-MAX_LINES:])
