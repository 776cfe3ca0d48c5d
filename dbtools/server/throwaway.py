"""A throwaway server of the first kind that has what is required: embedded, else in a container."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from dbtools.errors import ServerError
from dbtools.server.embedded import EmbeddedServer
from dbtools.server.requirements import NONE
from dbtools.server.sources import NoBinaries

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dbtools.server.container import ContainerServer
    from dbtools.server.requirements import Requirements


def start_throwaway(
    requirements: Requirements = NONE,
    *,
    settings: Mapping[str, str] | None = None,
    bare: bool = False,
    lean: bool = True,
    lab: bool = False,
) -> EmbeddedServer | ContainerServer:
    """Return a running server. `settings` override those that are required.

    The extensions are made in each of its databases; with `bare` they are only there to be made. `lean` is for the
    embedded one: without the databases postgres and template0. For the `lab` no other server would do.

    Raises:
        ServerError: Neither programs on this machine nor a container have what is required, or the server did not
            start.
    """
    try:
        return EmbeddedServer.start(requirements, settings=settings, bare=bare, lean=lean, lab=lab)
    except NoBinaries as error:
        if requirements.programs:
            raise
        no_binaries = error
    from dbtools.server import engine
    from dbtools.server.container import ContainerServer

    wanted = replace(requirements, major=requirements.version)
    image = engine.image(requirements.version)
    reason = engine.why_not(image)
    if not reason:
        try:
            return ContainerServer.start(image, wanted, settings=settings, bare=bare)
        except ServerError as error:
            reason = f"{error.what} {error.why.rstrip('.')}"
    raise NoBinaries(
        no_binaries.what,
        f"{no_binaries.why} A container: {reason}.",
        f"{no_binaries.hint.removesuffix('.')}; or name an image that has it in DBTOOLS_POSTGRES_IMAGE.",
    )
