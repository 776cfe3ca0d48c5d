"""From a trace to the rows of its picture.

A step that never waited is one row. A step that waited is three: its release, the wait, and how it went on, with its
session's rail marked in between. A step that the server answered with an error, or not at all, says so in its last row.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from dbtools.races.render import sanitize as words
from dbtools.races.render.rows import Kind, Lane, Picture, Rail, Row, State, ended
from dbtools.races.token import letter
from dbtools.races.trace import Event, EventKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dbtools.races.trace import Step, Trace


def layout(trace: Trace) -> Picture:
    """Return a run laid out. Every step that was released has a row."""
    return _Layout(trace).picture()


class _Layout:
    """Goes through the events once and keeps what state each session is in."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._steps = {step.number: step for step in trace.steps}
        self._waited = {event.step for event in trace.events if event.kind is EventKind.BLOCKED}
        self._answered = {event.step for event in trace.events if event.kind is EventKind.ENDED}
        self._failed = {failure.step for failure in trace.failures if failure.step}
        actors = dict.fromkeys((*trace.actors, *(event.actor for event in trace.events)))
        self._lanes = tuple(
            Lane(letter(i), actor, tuple(dict.fromkeys((actor, *self._sessions(actor)))))
            for i, actor in enumerate(actors)
        )
        self._places = {
            name: (i, j) for i, lane in enumerate(self._lanes) for j, name in enumerate(lane.sessions)
        }  # of sessions; an actor is its first one
        self._states = dict.fromkeys(self._places, State.IDLE)
        self._waiting: set[str] = set()
        self._over: set[str] = set()
        self._turn: Step | None = None
        self._rows: list[Row] = []

    def _sessions(self, actor: str) -> Iterator[str]:
        return (step.session for step in self._trace.steps if step.actor == actor)

    def picture(self) -> Picture:
        for event in self._trace.events:
            step = self._steps.get(event.step)
            if event.kind is EventKind.FINISHED:
                self._finished(event.actor)
            elif step:
                {
                    EventKind.RELEASED: self._released,
                    EventKind.BLOCKED: self._blocked,
                    EventKind.WOKEN: lambda *_: None,
                    EventKind.ENDED: self._ended,
                }[event.kind](step, event)
        return Picture(self._trace, self._lanes, tuple(self._rows))

    def _released(self, step: Step, _: Event) -> None:
        if step.choice:
            turn = self._turn
            if turn and turn.actor != step.actor and turn.session not in self._waiting and turn.actor not in self._over:
                self._preempted(turn, step)
            self._turn = step
        if step.number in self._waited:
            self._add(Kind.STEP, step.session, words.statement(step), step=step)
        elif step.number in self._answered:
            self._answer(Kind.STEP, step, words.statement(step))
        else:
            self._add(Kind.STEP, step.session, words.statement(step), step=step, result="no answer")

    def _preempted(self, turn: Step, step: Step) -> None:
        """Mark the switch before what the driver of the next step sent by itself, such as its BEGIN."""
        preamble = len(self._rows)
        while preamble and _is_preamble(self._rows[preamble - 1], step):
            preamble -= 1
        later = self._rows[preamble:]
        del self._rows[preamble:]
        to = self._lanes[self._places[step.session][0]].label(step.session)
        self._add(Kind.SWITCH, turn.session, f"preempted, {to} goes on")
        if later and self._rows[:-1]:
            before = tuple(tuple(_onwards(rail) for rail in rails) for rails in self._rows[-2].rails)
            self._rows[-1] = replace(self._rows[-1], rails=before)
        self._rows += later

    def _blocked(self, step: Step, event: Event) -> None:
        begins = step.session not in self._waiting
        self._waiting.add(step.session)
        places = [self._places.get(name) for name in event.on]
        names = [
            self._lanes[place[0]].label(name) if place else words.one_line(name)
            for name, place in zip(event.on, places, strict=True)
        ]
        text = (
            f"waits{' for ' if names else ''}{', '.join(names)}{': ' if event.lock else ''}{words.one_line(event.lock)}"
        )
        towards = tuple(place for place in places if place)
        self._add(Kind.WAIT, step.session, text, Rail(State.WAITING, begins=begins), step=step, towards=towards)

    def _ended(self, step: Step, _: Event) -> None:
        if step.number in self._waited:
            self._answer(Kind.RESULT, step, f"step {step.number} {'fails' if step.sqlstate else 'goes on'}")

    def _answer(self, kind: Kind, step: Step, text: str) -> None:
        was = self._states[step.session]
        now = {"T": State.OPEN, "E": State.FAILED}.get(step.transaction, State.IDLE)
        self._states[step.session] = now
        rail = Rail(now, begins=was is not now and was is State.IDLE)
        if now is State.IDLE:
            rail = Rail(was, ends=was is not State.IDLE)
        if step.session in self._waiting:
            self._waiting.discard(step.session)
            rail = Rail(State.WAITING, ends=True)
        failed = bool(step.sqlstate) and step.number in self._failed
        result, error = "" if step.sqlstate else words.outcome(step), words.error(step)
        self._add(kind, step.session, text, rail, step=step, result=result, error=error, failed=failed)

    def _finished(self, actor: str) -> None:
        self._over.add(actor)
        lane, _ = self._places[actor]
        codes = [end.code for end in self._trace.ends if end.actor == actor]
        text = ended(codes[0]) if codes else "finished"
        rails = {}
        for name in self._lanes[lane].sessions:
            state = State.WAITING if name in self._waiting else self._states[name]
            rails[name] = Rail(state, ends=state is not State.IDLE)
            self._waiting.discard(name)
            self._states[name] = State.IDLE
        self._add(Kind.END, actor, text, rails=rails, failed=any(codes))

    def _add(
        self,
        kind: Kind,
        session: str,
        text: str,
        rail: Rail | None = None,
        *,
        rails: dict[str, Rail] | None = None,
        step: Step | None = None,
        result: str = "",
        error: str = "",
        failed: bool = False,
        towards: tuple[tuple[int, int], ...] = (),
    ) -> None:
        here = rails or ({session: rail} if rail else {})
        now = tuple(
            tuple(
                here.get(name) or Rail(State.WAITING if name in self._waiting else self._states[name])
                for name in lane.sessions
            )
            for lane in self._lanes
        )
        self._rows.append(Row(kind, *self._places[session], text, now, step, result, error, failed, towards))


def _is_preamble(row: Row, step: Step) -> bool:
    return bool(row.kind is Kind.STEP and row.step and not row.step.choice and row.step.actor == step.actor)


def _onwards(rail: Rail) -> Rail:
    """Return what follows a rail in the next row where nothing happens to its session."""
    return Rail(State.IDLE if rail.ends else rail.state)
