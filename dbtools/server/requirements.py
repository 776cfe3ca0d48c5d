"""What a project wants of a server that dbtools starts for it: the table [tool.dbtools.server]."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dbtools.db.connect import OLDEST_MAJOR

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MAJORS = (OLDEST_MAJOR, 18)
"""The oldest and the newest PostgreSQL that is known."""
DEFAULT_MAJOR = 16
ALL_MAJORS = (DEFAULT_MAJOR, *(major for major in range(MAJORS[0], MAJORS[1] + 1) if major != DEFAULT_MAJOR))
"""The default one first."""
HARNESS_SETTINGS = (
    "config_file",
    "data_directory",
    "external_pid_file",
    "hba_file",
    "ident_file",
    "lc_messages",
    "listen_addresses",
    "log_destination",
    "logging_collector",
    "port",
    "unix_socket_directories",
)
"""The settings by which dbtools finds its servers again, keeps others out, and reads what they say."""


@dataclass(frozen=True)
class Requirements:
    """What a server must have. Without any, it is PostgreSQL 16 from the wheel."""

    major: int | None = None
    """The major version; None: 16, or that of the project's own server which runs already."""
    extensions: tuple[str, ...] = ()
    """They are made in every database that the application is given, by the superuser."""
    settings: Mapping[str, str] = field(default_factory=dict, hash=False)
    programs: Path | None = None
    """The folder with postgres and initdb; None: it is found."""

    @property
    def version(self) -> int:
        """The major version of a server that is started for them."""
        return self.major or DEFAULT_MAJOR


NONE = Requirements()
