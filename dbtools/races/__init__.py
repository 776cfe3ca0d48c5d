"""The race lab: interleave any programs on PostgreSQL statement by statement, find a race, shrink it, replay it.

Terms: *actor* (a program), *session* (one of its connections), *step* (from the first message of a request to
ReadyForQuery), *schedule* (the order of the steps), *switch* (two steps of different actors in a row), *blocked*
(running in the server, waited on by pg_blocking_pids), *settled* (every live actor is held, blocked or finished).
"""

from dbtools.application import Invariant
from dbtools.races.explore import explore, replay
from dbtools.races.result import ExplorationResult, Verdict
from dbtools.races.scenario import Actor, Latch, Scenario, Script

__all__ = ["Actor", "ExplorationResult", "Invariant", "Latch", "Scenario", "Script", "Verdict", "explore", "replay"]
