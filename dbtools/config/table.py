"""The keys of [tool.dbtools], each read into what `Project` holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dbtools.config.entry import Entry
from dbtools.config.steps import first_edition, read_steps
from dbtools.db.url import MAX_NAME_BYTES
from dbtools.errors import UNCHANGED, ConfigurationError
from dbtools.server.requirements import MAJORS, Requirements, UnfitSetting, read_setting

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LOCK_KEY = 0x47524F4F  # "GROO": every program of the application calls pg_advisory_lock(1196576591)
SNAPSHOT_CACHE_BYTES = 2 * 10**9
STEPS = ("migrate", "seed")
"""The keys whose values are steps."""
STRATEGIES = ("swap", "in-place")


def read_table(path: Path, table: object, *, has_alembic: bool) -> dict[str, Any]:
    """Return the fields of `Project`, but for its root, that the table [tool.dbtools] in `path` sets.

    `has_alembic` says whether that file has a table [tool.alembic].

    Raises:
        ConfigurationError: A key is unknown, a value is not what it must be, or no step is left.
    """
    if not isinstance(table, dict):
        raise ConfigurationError(
            f"tool.dbtools in {path} is not a table.", f"It is {table!r}.", "Write: [tool.dbtools]", UNCHANGED
        )
    if "application" in table or "migrations" in table:
        raise first_edition(path, table, has_alembic=has_alembic)
    fields: dict[str, Any] = {"races": path.parent / "races"}
    for key, value in table.items():
        if key not in (*STEPS, *READERS):
            raise ConfigurationError(
                f"[tool.dbtools] in {path} has an unknown key: {key!r}.",
                f"Known keys: {', '.join(sorted((*STEPS, *READERS)))}.",
                "Correct or remove it.",
                UNCHANGED,
            )
        entry = Entry(path, key, value)
        if key in STEPS:
            fields[key] = read_steps(entry, has_alembic=has_alembic)
        else:
            name, read = READERS[key]
            fields[name] = read(entry)
    _choose_schema(path, fields)
    if "migrate" not in fields:
        fields["migrate"] = read_steps(Entry(path, "migrate", "alembic"), has_alembic=has_alembic)
    if not fields["migrate"] and not fields.get("seed"):
        raise ConfigurationError(
            f"[tool.dbtools] in {path} has no steps.",
            "migrate is an empty list, and there is no seed: nothing would make the database's content.",
            'For example: migrate = "alembic"',
            UNCHANGED,
        )
    return fields


def _choose_schema(path: Path, fields: dict[str, Any]) -> None:
    if "schema" in fields and "schemas" in fields:
        raise ConfigurationError(
            f"[tool.dbtools] in {path} has both schema and schemas.",
            "Each names the schemas that belong to the application: schema one, schemas several.",
            f"Keep one of them. For example: schemas = {list(fields['schemas'])!r}".replace("'", '"'),
            UNCHANGED,
        )
    if "schema" in fields:
        fields["schemas"] = (fields["schema"],)
    elif "schemas" in fields:
        fields["schema"] = fields["schemas"][0]


def _schema(entry: Entry) -> str:
    """Return a schema's name, unless the schema is PostgreSQL's own or the server would read another name."""
    schema = entry.value
    if not isinstance(schema, str):
        raise entry.refuse("the name of a schema", 'schema = "public"')
    if not schema or "\0" in schema or len(schema.encode()) > MAX_NAME_BYTES:
        why = f"A schema's name has 1 to {MAX_NAME_BYTES} bytes; the server would cut a longer one"
    elif schema == "$user":
        why = "In a search_path that stands for the role's name"
    elif schema.startswith("pg_") or schema == "information_schema":
        why = "It belongs to PostgreSQL itself"
    else:
        return schema
    raise ConfigurationError(
        f"[tool.dbtools] {entry.key} in {entry.path} cannot be {schema!r}.",
        f"{why}.",
        "Name the schema that holds the application's tables.",
        UNCHANGED,
    )


def _schemas(entry: Entry) -> tuple[str, ...]:
    example = 'schemas = ["public", "drizzle"]'
    names = entry.texts("a list of schemas", example)
    if not names or len(set(names)) < len(names):
        raise entry.refuse("a list of one schema or more, each once", example)
    return tuple(_schema(Entry(entry.path, entry.key, name)) for name in names)


def _strategy(entry: Entry) -> str:
    if entry.value not in STRATEGIES:
        raise entry.refuse(f"one of {', '.join(STRATEGIES)}", 'strategy = "in-place"')
    return str(entry.value)


def _patterns(example: str) -> Callable[[Entry], tuple[str, ...]]:
    return lambda entry: entry.texts("a list of texts, none of them empty", example)


def _server(entry: Entry) -> Requirements:
    if not isinstance(entry.value, dict):
        raise entry.refuse("a table", "[tool.dbtools.server] major = 16")
    entry.check_keys(("major", "extensions", "settings"))
    below = {key: entry.below(key, value) for key, value in entry.value.items()}
    low, high = MAJORS
    return Requirements(
        below["major"].whole_number("major = 16", low=low, high=high) if "major" in below else None,
        _patterns('extensions = ["citext", "vector"]')(below["extensions"]) if "extensions" in below else (),
        _settings(below["settings"]) if "settings" in below else {},
    )


def _settings(entry: Entry) -> dict[str, str]:
    if not isinstance(entry.value, dict):
        raise entry.refuse(
            "a table of the server's settings", 'settings = { shared_buffers = "256MB", max_connections = 50 }'
        )
    settings = {}
    for name, value in entry.value.items():
        try:
            settings[name] = read_setting(name, value)
        except UnfitSetting as error:
            raise ConfigurationError(
                f"[tool.dbtools] {entry.key} in {entry.path} cannot have {name}.",
                f"{error}.",
                "Correct or remove it; a server of your own, named by DATABASE_URL, has its own settings.",
                UNCHANGED,
            ) from None
    return settings


READERS: dict[str, tuple[str, Callable[[Entry], Any]]] = {
    "inputs": ("inputs", _patterns('inputs = ["db/**", "package-lock.json"]')),
    "env": ("env", Entry.variables),
    "variables": ("variables", _patterns('variables = ["SEED_*"]')),
    "python": (
        "python",
        lambda entry: entry.path.parent / entry.text("the path of an interpreter", 'python = ".venv/bin/python"'),
    ),
    "schemas": ("schemas", _schemas),
    "races": ("races", lambda entry: entry.path.parent / entry.text("the path of a folder", 'races = "tests/races"')),
    "schema": ("schema", _schema),
    "lock-key": ("lock_key", lambda entry: entry.whole_number(f"lock-key = {LOCK_KEY}")),
    "lock-timeout": ("lock_timeout", lambda entry: entry.seconds("lock-timeout = 300")),
    "pool-size": ("pool_size", lambda entry: entry.whole_number("pool-size = 6")),
    "strategy": ("strategy", _strategy),
    "allow-hosts": ("allow_hosts", _patterns('allow-hosts = ["db"]')),
    "protect": ("protect", _patterns('protect = ["prod*"]')),
    "snapshot-cache": ("snapshot_cache_bytes", lambda entry: entry.size_bytes('snapshot-cache = "2 GB"')),
    "server": ("server", _server),
}
"""Each other key, the field of `Project` that it sets, and how its value is read."""
