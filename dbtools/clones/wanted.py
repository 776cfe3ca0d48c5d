"""What a private database is to hold, and the template with that content."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from dbtools.errors import UNCHANGED, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dbtools.build.manifest import Manifest
    from dbtools.build.template import Content, Owner
    from dbtools.config import Project
    from dbtools.db.dsn import Dsn


@dataclass(frozen=True)
class Wanted:
    """The content of a private database; where nothing is said, what `invoke reset` would install."""

    empty: bool = False
    schema_only: bool = False
    """What the migrate steps make, and nothing of the seed."""
    snapshot: str = ""
    """The absolute path of a file of `invoke snapshot.save`, instead of the project's own steps."""
    profile: str = ""
    as_of: str = ""
    seed: str = ""


class Template(NamedTuple):
    """A template database, and what it holds."""

    name: str
    manifest: Manifest


def make_template(
    owner: Owner, project: Project, wanted: Wanted, note: Callable[[str], None], admin: Dsn | None = None
) -> Template:
    """Return the template with the content that is wanted, on the owner's server; make it where there is none.

    Its snapshot is built where none fits. `admin` is a superuser on that server, for extensions.

    Raises:
        ConfigurationError: The profile, the day or the seed is no such thing, or the file is no snapshot.
        DatabaseUnreachable: The server did not let us in.
        StepFailed, ChainFailed: The content could not be made.
    """
    from dbtools.build.template import prepare
    from dbtools.chain.phase import Outcome, phase

    with phase("build", UNCHANGED, Outcome("build")), _open_content(project, wanted, owner.dsn, note) as content:
        return Template(prepare(owner, content, admin), content.manifest)


@contextmanager
def _open_content(project: Project, wanted: Wanted, dsn: Dsn, note: Callable[[str], None]) -> Iterator[Content]:
    from dbtools.build.builder import Builder
    from dbtools.build.package import unpack
    from dbtools.build.store import open_store
    from dbtools.chain.content import find_content
    from dbtools.chain.install import GivenSnapshot
    from dbtools.chain.kept_rows import load_application
    from dbtools.chain.prefetch import generate_in_background
    from dbtools.config import SeedPlan, step_variables

    application, kept = (None, None) if wanted.schema_only or wanted.snapshot else load_application(project)
    plan = SeedPlan.resolve(application, profile=wanted.profile, as_of=wanted.as_of, seed=wanted.seed)
    with generate_in_background(application, plan, kept) as rows:
        if wanted.snapshot:
            with unpack(Path(wanted.snapshot)) as snapshot:
                yield find_content(dsn, GivenSnapshot(snapshot), rows, project.root.name)
            return
        if wanted.schema_only and not project.migrate:
            raise ConfigurationError(
                "There is no schema without the seed.",
                f"[tool.dbtools] migrate in {project.root / 'pyproject.toml'} is empty: its seed makes everything.",
                "Ask for the whole content, or make the tables in a step of migrate.",
                UNCHANGED,
            )
        environ = {**os.environ, **step_variables(wanted.profile, wanted.as_of, wanted.seed)}
        chosen = replace(project, seed=()) if wanted.schema_only else project
        # It lives as long as the block: a snapshot that is not kept goes with its store.
        builder = Builder(chosen, open_store(project), environ, note)
        yield find_content(dsn, builder, rows, project.root.name)
