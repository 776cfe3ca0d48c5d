"""PostgreSQL's isolation specs: the same language, run the same way, with the same bytes as output.

`run` writes what isolationtester of PostgreSQL 16 prints for the same spec, standard error included where it would have
appeared. Two things differ: every wait has a limit, including the wait for a set-up, and a step that starts a COPY with
data of the client ends the run, where the tester would never end. Names follow src/test/isolation in PostgreSQL's
source, so that the two can be compared:

    spec         what a file holds: sessions, steps, permutations, blockers (isolationtester.h)
    scanner      the text of a file as tokens (specscanner.l)
    parser       the tokens as a spec (specparse.y, check_testspec)
    libpq        the calls of libpq that a run needs, none of which waits without a limit
    connection   one connection per session, and the control connection
    step         sending steps and reporting them (try_complete_step)
    permutation  set-up, steps and tear-down of one permutation (run_permutation)
    format       results as the tester prints them (printResultSet, PQprint)
    runner       a whole spec on a given database
    suite        many specs, each on a server of its own, compared with expected output (pg_isolation_regress)
"""

from dbtools.isolation.parser import parse, read_spec
from dbtools.isolation.runner import run
from dbtools.isolation.spec import Spec

__all__ = ["Spec", "parse", "read_spec", "run"]
