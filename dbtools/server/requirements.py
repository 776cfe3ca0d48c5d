"""What a project wants of a server that dbtools starts for it: the table [tool.dbtools.server]."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dbtools.db.connect import OLDEST_MAJOR
from dbtools.errors import NOT_RUN, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
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
_SETTING = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*(\.[A-Za-z_][A-Za-z0-9_$]*)?")


class UnfitSetting(ValueError):
    """No server is started with such a setting; the text says why, without a full stop."""


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


def read_setting(name: str, value: object) -> str:
    """Return a setting's value in the server's words.

    Raises:
        UnfitSetting: No setting has such a name or value, or dbtools sets it itself.
    """
    if not _SETTING.fullmatch(name):
        raise UnfitSetting("No setting can have that name")
    if name.lower() in HARNESS_SETTINGS:
        raise UnfitSetting(
            "It is set by dbtools itself, to find its servers again, to keep others out and to read what they say"
        )
    if not isinstance(value, (str, int, float)) or "\0" in str(value):
        raise UnfitSetting(f"It must be a string, a number or a boolean, not {value!r}")
    return ("off", "on")[value] if isinstance(value, bool) else str(value)


def parse_settings(texts: Iterable[str], option: str = "--setting") -> dict[str, str]:
    """Return the settings that an option names, each as NAME=VALUE.

    Raises:
        ConfigurationError: A text is no setting, or dbtools sets it itself.
    """
    settings = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise ConfigurationError(
                f"{option} cannot be {text!r}.",
                "It takes the name of a setting of the server and its value, with = between them.",
                f"For example: {option} wal_level=logical",
                NOT_RUN,
            )
        try:
            settings[name] = read_setting(name, value)
        except UnfitSetting as error:
            raise ConfigurationError(f"{option} cannot set {name}.", f"{error}.", "Leave it out.", NOT_RUN) from None
    return settings
