"""The server of a test run: a throwaway one, the project's own, one that a superuser lends, or one that is given."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbtools import config
from dbtools.clones.run import OPTION
from dbtools.server.requirements import NONE

if TYPE_CHECKING:
    from pathlib import Path

    from dbtools.server import Server
    from dbtools.server.requirements import Requirements


def open_server(kind: str, url: str, admin_url: str | None, root: Path) -> Server:
    """Return the server of the run. `kind` is that of `Run.client`; for `OPTION`, `url` is the option's text.

    Raises:
        DbtoolsError: It did not start, or does not let us in.
    """
    from dbtools.server.borrowed import BorrowedServer, is_superuser
    from dbtools.server.external import ExternalServer

    if kind in ("embedded", OPTION):
        from dbtools.server.sources import narrowed
        from dbtools.server.throwaway import start_throwaway

        # Other tools expect a database postgres.
        return start_throwaway(narrowed(_required(root), url, OPTION), lean=False)
    if kind == "container":
        from dbtools.server.container import ContainerServer

        return ContainerServer.start(requirements=_required(root))
    if kind == "project":
        from dbtools.server.project import start_server

        project = config.Project.find(root)
        own = start_server(project.root, project.server)
        return ExternalServer(own.url, source="the project's server", admin_url=own.admin_url)
    found = ExternalServer(url, source=kind, admin_url=admin_url)
    return BorrowedServer(found) if kind == "DBTOOLS_TEST_URL" and is_superuser(found) else found


def _required(root: Path) -> Requirements:
    try:
        return config.Project.find(root).server
    except config.NoProject:  # empty databases need none
        return NONE
