"""The inputs of a build: what a snapshot depends on, described when it is made, compared when it may be used again.

What counts is found in one of three ways. *Patterns* of [tool.dbtools] inputs decide where there are some. Else, where
every step was a Python program that recorded what it opened and read, the *record* does. Else every file counts that
*Git* knows or does not ignore, and what was recorded besides. Where Git cannot tell either, nothing is known, and the
content is built every time. Packages count wherever a child recorded them: patterns name files, not what is installed.

    before = Moment.take(str(root), list_inputs(root, patterns, environ))     # and then the build, and then:
    inputs = describe(root, digests, patterns=patterns, names=names, record=record, opaque=False, environ=environ)
    if not before.change_since(inputs): ...                                   # keep the snapshot, with inputs.to_json()
    difference(inputs, root, digests, patterns=patterns, names=names, environ=environ)  # "" as long as it fits
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal

from dbtools.build.folders import names_digest, relative
from dbtools.build.variables import chosen
from dbtools.words import number_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from dbtools.build.digests import Digests
    from dbtools.build.listing import Listing


@dataclass(frozen=True)
class Inputs:
    """What a snapshot was made of. Paths below the root are relative, with /; others are absolute."""

    how: Literal["recorded", "git", "patterns", "none"]
    """How the files were found; "none" where nothing is known of them."""
    files: dict[str, str] = field(default_factory=dict)
    """The SHA-256 of each file that was or might have been read; "" for one that did not exist."""
    folders: dict[str, str] = field(default_factory=dict)
    """The SHA-256 of the names in each folder that was listed, without what tools and editors leave."""
    modules: dict[str, str] = field(default_factory=dict)
    """The SHA-256 of the names of modules in each folder where imports looked for some."""
    packages: dict[str, str] = field(default_factory=dict)
    """What was installed in each site-packages folder."""
    variables: dict[str, str] = field(default_factory=dict)
    """A digest of each value, which only this cache can compare; "" for a variable that was not set."""
    patterns: tuple[str, ...] | None = None
    """[tool.dbtools] inputs, as it was."""
    names: tuple[str, ...] | None = None
    """[tool.dbtools] variables, as it was."""
    all_variables: bool = False
    """A variable that is set now and was not set then makes a difference too."""
    listing: str = ""
    """The digest of the names that patterns or Git gave."""

    @property
    def known(self) -> bool:
        """False: nothing is known of the inputs, so that no snapshot fits."""
        return self.how != "none"

    @property
    def words(self) -> str:
        """The inputs in a few words: "41 files (recorded)"."""
        return f"{number_of(len(self.files), 'file', grouped=True)} ({self.how})" if self.known else "not known"

    def to_json(self) -> dict[str, Any]:
        """Return the inputs as an object for a manifest. Names may have surrogates: write it with ensure_ascii."""
        return asdict(self)

    @classmethod
    def from_json(cls, found: object) -> Inputs:
        """Return the inputs of a manifest.

        Raises:
            ValueError: It is no such object.
        """
        if not isinstance(found, dict) or found.keys() != {part.name for part in fields(cls)}:
            raise ValueError("not the inputs of a build")
        for key in ("patterns", "names"):
            if found[key] is not None:
                found = {**found, key: tuple(found[key])}
        inputs = cls(**found)
        tables = (inputs.files, inputs.folders, inputs.modules, inputs.packages, inputs.variables)
        if inputs.how not in {"recorded", "git", "patterns", "none"} or not all(map(_is_table, tables)):
            raise ValueError("not the inputs of a build")
        return inputs


def _is_table(found: object) -> bool:
    return isinstance(found, dict) and all(isinstance(text, str) for text in (*found, *found.values()))


def list_inputs(root: Path, patterns: tuple[str, ...] | None, environ: Mapping[str, str]) -> Listing | None:
    """Return the files that the patterns match or, without patterns, that Git knows; None where it cannot tell.

    Raises:
        ConfigurationError: A pattern matches nothing, or there are too many files.
    """
    from dbtools.build import git, listing  # a comparison mostly goes without

    return git.list_known(str(root), environ) if patterns is None else listing.list_matches(str(root), patterns)


def describe(
    root: Path,
    digests: Digests,
    *,
    patterns: tuple[str, ...] | None,
    names: tuple[str, ...] | None,
    record: Path | None,
    opaque: bool,
    environ: Mapping[str, str],
    ignore: Collection[str] = (),
) -> Inputs:
    """Return the inputs of the build that has just ended.

    `record` is what its Python children recorded; it is not enough where a step was `opaque`, started another program
    or recorded nothing. `ignore` names the variables to which the steps give values of their own.

    Raises:
        ConfigurationError: A pattern matches nothing, or there are too many files.
    """
    from dbtools.build.record import Record

    recorded = Record.read(record)
    is_complete = recorded.is_complete and not opaque
    files, folders = {relative(path, str(root)) for path in recorded.files}, recorded.folders
    modules = recorded.modules if patterns is None else set()
    how: Literal["recorded", "git", "patterns", "none"] = "recorded"
    listing = ""
    if patterns is not None or not is_complete:
        rule, began_ns = listing_rule(patterns, environ), time.time_ns()
        found = list_inputs(root, patterns, environ)
        if found is None:
            how = "none"
        else:
            how = "git" if patterns is None else "patterns"
            listing = remember_listing(found, digests, rule, began_ns)
            files = files | found.names if patterns is None else set(found.names)
            folders = folders if patterns is None else set()
    every = names is None and (recorded.all_variables or not is_complete)
    variables = chosen(environ, names, None if every else recorded.variables, ignore)
    if every:
        variables |= chosen(environ, None, recorded.variables, ignore)
    described = Inputs(
        how,
        {name: digests.of_file(name) for name in sorted(files)},
        {name: digests.of_folder(name) for name in sorted(relative(path, str(root)) for path in folders)},
        {name: digests.of_modules(name) for name in sorted(relative(path, str(root)) for path in modules)},
        {name: digests.of_packages(name) for name in sorted(relative(path, str(root)) for path in recorded.packages)},
        {name: digests.of_variable(name, environ.get(name)) for name in sorted(variables)},
        patterns,
        names,
        every,
        listing,
    )
    digests.save()
    return described


def remember_listing(found: Listing, digests: Digests, rule: str, began_ns: int) -> str:
    """Remember the listing until what it depends on changes, and return the digest of its names."""
    digest = names_digest(found.names)
    if found.is_watchable:
        digests.keep_listing(rule, digest, found.watched, began_ns)
    return digest


def listing_rule(patterns: tuple[str, ...] | None, environ: Mapping[str, str]) -> str:
    """Return what a listing depends on besides what is watched."""
    if patterns is not None:
        return f"patterns {patterns}"
    names = sorted(name for name in environ if name in {"HOME", "XDG_CONFIG_HOME"} or name.startswith("GIT_"))
    return f"git {[(name, environ[name]) for name in names]}"
