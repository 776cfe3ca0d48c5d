"""The race lab: interleave any programs on PostgreSQL statement by statement, find a race, shrink it, replay it.

Terms, from the small to the large:

- *actor*: a program that takes part in a race.
- *session*: one of an actor's connections to the server.
- *step*: one request of a session, from its first message to the server's ReadyForQuery.
- *blocked*: a step is blocked while it waits in the server for a lock that another session has, or is queued for.
- *settled*: an actor is settled when nothing happens to it before the next choice: its request is held by the proxy or
  blocked, or it has ended, or it sleeps with no request under way.
- *scheduling point*: a moment when all actors are settled, and one of those with a held request is chosen.
- *run*: an actor and how many choices in a row fall on it. (The execution of a whole schedule is called a run as well.)
- *schedule*: a list of runs; it says which actor is chosen at each scheduling point.
- *switch*, or *preemption*: a choice that falls on another actor although the current one could have gone on.
- *latch*: a lock of the lab's own that stops a statement in the middle, so that others can run meanwhile.
- *verdict*: what an exploration proves: held, violated, or inconclusive.
- *token*: a short string that holds the scenario and the schedule of a failure, for a replay.
"""

from dbtools.application import Invariant
from dbtools.races.explore import explain, explore, replay
from dbtools.races.result import ExplorationResult, Verdict
from dbtools.races.scenario import Actor, Latch, Scenario, Script

__all__ = [
    "Actor",
    "ExplorationResult",
    "Invariant",
    "Latch",
    "Scenario",
    "Script",
    "Verdict",
    "explain",
    "explore",
    "replay",
]
