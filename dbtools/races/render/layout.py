"""Lay out a trace: make the rows of its picture.

A step that never waited is one row. A step that waited has a row for its release, one for each wait, and one for its
end, with the track of its session marked in between. A step's error, or the lack of an answer, is in its last row.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from dbtools.races.render import sanitize
from dbtools.races.render.rows import Kind, Lane, Picture, Row, State, Track, describe_exit
from dbtools.races.token import letter
from dbtools.races.trace import Event, EventKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dbtools.races.trace import Step, Trace


def layout(trace: Trace) -> Picture:
    """Return the picture of a run. Every step that was released has a row."""
    return _Layout(trace).picture()


class _Layout:
    """Goes through the events once and keeps the state of each session."""

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
        self._positions = {
            name: (i, j) for i, lane in enumerate(self._lanes) for j, name in enumerate(lane.sessions)
        }  # lane and session; the first session of an actor has the actor's name
        self._states = dict.fromkeys(self._positions, State.IDLE)
        self._waiting: set[str] = set()
        self._ended_actors: set[str] = set()
        self._last_choice: Step | None = None
        self._yielded = ""
        """The actor that has yielded since."""
        self._rows: list[Row] = []

    def _sessions(self, actor: str) -> Iterator[str]:
        return (step.session for step in self._trace.steps if step.actor == actor)

    def picture(self) -> Picture:
        for event in self._trace.events:
            step = self._steps.get(event.step)
            if event.kind is EventKind.YIELDED:
                self._yielded = event.actor
            elif event.kind is EventKind.FINISHED:
                self._on_finished(event.actor)
            elif step and event.kind is EventKind.RELEASED:
                self._on_released(step)
            elif step and event.kind is EventKind.BLOCKED:
                self._on_blocked(step, event)
            elif step and event.kind is EventKind.ENDED:
                self._on_ended(step)
        return Picture(self._trace, self._lanes, tuple(self._rows))

    def _on_released(self, step: Step) -> None:
        if step.choice:
            if self._last_choice and self._is_preempted_by(step, self._last_choice):
                self._add_switch(self._last_choice, step)
            self._last_choice, self._yielded = step, ""
        if step.number in self._waited:
            self._add(Kind.STEP, step.session, sanitize.statement(step), step=step)
        elif step.number in self._answered:
            self._add_answer(Kind.STEP, step, sanitize.statement(step))
        else:
            self._add(Kind.STEP, step.session, sanitize.statement(step), step=step, result="no answer")

    def _is_preempted_by(self, step: Step, last: Step) -> bool:
        """Return whether the actor of the last choice could have gone on when another one's step was released."""
        stopped = last.session in self._waiting or last.actor in self._ended_actors or last.actor == self._yielded
        return last.actor != step.actor and not stopped

    def _add_switch(self, last: Step, step: Step) -> None:
        """Add the switch before the rows that the driver of the next step sent by itself, such as its BEGIN."""
        preamble = len(self._rows)
        while preamble and _is_preamble(self._rows[preamble - 1], step):
            preamble -= 1
        later = self._rows[preamble:]
        del self._rows[preamble:]
        successor = self._lanes[self._positions[step.session][0]].label(step.session)
        self._add(Kind.SWITCH, last.session, f"preempted, {successor} goes on")
        if later and self._rows[:-1]:
            before = tuple(tuple(_continued(track) for track in tracks) for tracks in self._rows[-2].tracks)
            self._rows[-1] = replace(self._rows[-1], tracks=before)
        self._rows += later

    def _on_blocked(self, step: Step, event: Event) -> None:
        begins = step.session not in self._waiting
        self._waiting.add(step.session)
        positions = [self._positions.get(name) for name in event.on]
        names = [
            self._lanes[position[0]].label(name) if position else sanitize.one_line(name)
            for name, position in zip(event.on, positions, strict=True)
        ]
        waited_for = f" for {', '.join(names)}" if names else ""
        lock = f": {sanitize.one_line(event.lock)}" if event.lock else ""
        track = Track(State.WAITING, begins=begins)
        waits_for = tuple(position for position in positions if position)
        self._add(Kind.WAIT, step.session, f"waits{waited_for}{lock}", track, step=step, waits_for=waits_for)

    def _on_ended(self, step: Step) -> None:
        if step.number in self._waited:
            self._add_answer(Kind.RESULT, step, f"step {step.number} {'fails' if step.sqlstate else 'goes on'}")

    def _add_answer(self, kind: Kind, step: Step, text: str) -> None:
        before = self._states[step.session]
        after = {"T": State.OPEN, "E": State.FAILED}.get(step.transaction, State.IDLE)
        self._states[step.session] = after
        track = Track(after, begins=before is not after and before is State.IDLE)
        if after is State.IDLE:
            track = Track(before, ends=before is not State.IDLE)
        if step.session in self._waiting:
            self._waiting.discard(step.session)
            track = Track(State.WAITING, ends=True)
        failed = bool(step.sqlstate) and step.number in self._failed
        result, error = "" if step.sqlstate else sanitize.result(step), sanitize.error(step)
        self._add(kind, step.session, text, track, step=step, result=result, error=error, failed=failed)

    def _on_finished(self, actor: str) -> None:
        self._ended_actors.add(actor)
        lane, _ = self._positions[actor]
        codes = [end.code for end in self._trace.ends if end.actor == actor]
        text = describe_exit(codes[0]) if codes else "finished"
        tracks = {}
        for name in self._lanes[lane].sessions:
            state = State.WAITING if name in self._waiting else self._states[name]
            tracks[name] = Track(state, ends=state is not State.IDLE)
            self._waiting.discard(name)
            self._states[name] = State.IDLE
        self._add(Kind.END, actor, text, tracks=tracks, failed=any(codes))

    def _add(
        self,
        kind: Kind,
        session: str,
        text: str,
        track: Track | None = None,
        *,
        tracks: dict[str, Track] | None = None,
        step: Step | None = None,
        result: str = "",
        error: str = "",
        failed: bool = False,
        waits_for: tuple[tuple[int, int], ...] = (),
    ) -> None:
        """Add a row. Sessions whose track is not given go on in their state."""
        given = tracks or ({session: track} if track else {})
        row_tracks = tuple(
            tuple(
                given.get(name) or Track(State.WAITING if name in self._waiting else self._states[name])
                for name in lane.sessions
            )
            for lane in self._lanes
        )
        self._rows.append(
            Row(kind, *self._positions[session], text, row_tracks, step, result, error, failed, waits_for)
        )


def _is_preamble(row: Row, step: Step) -> bool:
    return bool(row.released and not row.released.choice and row.released.actor == step.actor)


def _continued(track: Track) -> Track:
    """Return the track of the next row if nothing happens to the session there."""
    return Track(State.IDLE if track.ends else track.state)
