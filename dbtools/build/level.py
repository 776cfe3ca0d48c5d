"""The levels of a project's content, so that another seed does not migrate again, and what decides about each.

The first level is what the `migrate` steps make, the second that with what the `seed` steps add; a project may lack
one. Steps of the kind `rows` are no part of a snapshot: their rows are generated for every run.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, NamedTuple

from dbtools import __version__
from dbtools.build.manifest import FORMAT
from dbtools.db.databases import LOCALE

if TYPE_CHECKING:
    import psycopg

    from dbtools.config import Project
    from dbtools.config.steps import Step

_FACTS = f"""
select current_setting('server_version_num')::int / 10000, current_user, pg_encoding_to_char(encoding), {LOCALE},
       array(select extname || ' ' || extversion from pg_extension where not pg_has_role(extowner, 'USAGE') order by 1)
from pg_database d, to_jsonb(d) c where datname = current_database()
"""


class Level(NamedTuple):
    """The steps of one role, which make one snapshot."""

    role: str
    """"migrate" or "seed"."""
    steps: tuple[Step, ...]


def list_levels(project: Project) -> list[Level]:
    """Return the levels that a project has."""
    seed = tuple(step for step in project.seed if step.kind != "rows")
    return [level for level in (Level("migrate", project.migrate), Level("seed", seed)) if level.steps]


def server_facts(work: psycopg.Connection) -> str:
    """Return what of a server, a database and a role decides the content."""
    return repr(work.execute(_FACTS).fetchone())


def recipe_of(level: Level, project: Project, facts: str, base: str) -> str:
    """Return the hash of all that decides which inputs there are. `base` is the key of the level before, or ""."""
    steps = [
        (step.kind, step.words, os.path.relpath(step.cwd, project.root), sorted(step.env.items()))
        for step in level.steps
    ]
    settings = (sorted(project.env.items()), project.variables, project.schema, project.schemas)
    text = repr((FORMAT, __version__, facts, base, steps, settings))
    return hashlib.sha256(text.encode()).hexdigest()
