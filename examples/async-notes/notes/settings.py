"""Settings from .env in the working directory, each of which a variable of the environment overrides."""

import os
from pathlib import Path


def setting(name: str) -> str:
    """Return one setting."""
    lines = Path(".env").read_text("utf-8").splitlines()
    return os.environ.get(name) or dict(line.split("=", 1) for line in lines if line)[name]


def url() -> str:
    """Return the URL of the application's database."""
    user, password = setting("NOTES_DB_USER"), setting("NOTES_DB_PASSWORD")
    return f"postgresql+asyncpg://{user}:{password}@{setting('NOTES_DB_HOST')}/{setting('NOTES_DB_NAME')}"
