"""The inputs of one project's steps: what counts as one, and whether a snapshot was made of the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbtools.build.comparison import difference
from dbtools.build.digests import Digests
from dbtools.build.inputs import Inputs
from dbtools.build.level import list_levels

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from dbtools.build.manifest import Manifest
    from dbtools.build.moment import Moment
    from dbtools.config import Project


class ProjectInputs:
    """The inputs of `project`. `environ` is what the steps get; `memory` has the digests of earlier runs."""

    def __init__(self, project: Project, environ: Mapping[str, str], memory: Path | None) -> None:
        self._project = project
        self._environ = environ
        self._digests = Digests(project.root, memory)

    def difference(self, manifest: Manifest) -> str:
        """Return in words what has changed since a snapshot was made, "" where it fits.

        Raises:
            ConfigurationError: A pattern matches nothing, or there are too many files.
        """
        return difference(
            Inputs.from_json(manifest.inputs),
            self._project.root,
            self._digests,
            patterns=self._patterns,
            names=self._project.variables,
            environ=self._environ,
            ignore=self._given,
        )

    def take_moment(self) -> Moment:
        """Look at the files before the steps run.

        Raises:
            ConfigurationError: As in `difference`, or a step of the kind `sql` has no files.
        """
        from dbtools.build.inputs import list_inputs
        from dbtools.build.moment import Moment

        self._check_sql_files()
        root = self._project.root
        return Moment.take(str(root), list_inputs(root, self._patterns, self._environ))

    def describe(self, record: Path) -> Inputs:
        """Return the inputs of the build that has just ended. `record` is what its Python children recorded.

        Raises:
            ConfigurationError: As in `difference`.
        """
        from dbtools.build.inputs import describe

        return describe(
            self._project.root,
            self._digests,
            patterns=self._patterns,
            names=self._project.variables,
            record=record,
            opaque=False,
            environ=self._environ,
            ignore=self._given,
        )

    @property
    def _patterns(self) -> tuple[str, ...] | None:
        """The patterns of input files; None where they are found in another way."""
        steps = [step for level in list_levels(self._project) for step in level.steps]
        if self._project.inputs is None and all(step.kind == "sql" for step in steps):
            return tuple(word for step in steps for word in step.words)
        return self._project.inputs

    @property
    def _given(self) -> set[str]:
        """The variables that steps get values of their own for."""
        from dbtools.build.environment import url_variables

        project = self._project
        steps = (*project.migrate, *project.seed)
        urls = url_variables(self._environ, (project.root, *(step.cwd for step in steps)))
        return {*project.env, *urls, *(name for step in steps for name in step.env)}

    def _check_sql_files(self) -> None:
        """Refuse `sql` steps without files in their own words, where their patterns are about to be looked up."""
        from dbtools.build.child import sql_files

        if self._project.inputs is not None or self._patterns is None:
            return
        for level in list_levels(self._project):
            for number, step in enumerate(level.steps, 1):
                sql_files(step, self._project, f"{level.role} {number} of {len(level.steps)}")
