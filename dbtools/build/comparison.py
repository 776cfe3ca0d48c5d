"""Compares what a snapshot was made of with the project and its server as they are now: may it be used again?"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from dbtools.build.digests import MISSING
from dbtools.build.folders import shown
from dbtools.build.inputs import list_inputs, listing_rule, remember_listing
from dbtools.build.variables import chosen

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    import psycopg

    from dbtools.build.digests import Digests
    from dbtools.build.inputs import Inputs
    from dbtools.build.manifest import Manifest

_VERSIONS = """
select a.name, a.default_version, e.extversion
from pg_available_extensions a left join pg_extension e on e.extname = a.name where a.name = any(%s)
"""


def difference(
    inputs: Inputs,
    root: Path,
    digests: Digests,
    *,
    patterns: tuple[str, ...] | None,
    names: tuple[str, ...] | None,
    environ: Mapping[str, str],
    ignore: Collection[str] = (),
) -> str:
    """Return the first thing in which the inputs differ from those of a build now, in words, or "".

    Files are looked at, and read only if they may have changed; Git is asked only if its answer may be another one.

    Raises:
        ConfigurationError: A pattern matches nothing, or there are too many files.
    """
    if not inputs.known:
        return "nothing is known of its inputs"
    if inputs.patterns != patterns:
        return "[tool.dbtools] inputs changed"
    if inputs.names != names:
        return "[tool.dbtools] variables changed"
    reason = _variable_difference(inputs, digests, environ, ignore) or _file_difference(inputs, digests)
    if not reason and inputs.how != "recorded":
        reason = _listing_difference(inputs, root, digests, environ)
    digests.save()
    return reason


def other_extensions(work: psycopg.Connection, manifest: Manifest) -> str:
    """Return in words which extension would be another version now."""
    if not manifest.extensions:
        return ""
    names = [extension.name for extension in manifest.extensions]
    here = {name: versions for name, *versions in work.execute(_VERSIONS, (names,))}
    for extension in manifest.extensions:
        # A build makes the version that is there, or the newest one, whoever creates the extension.
        if extension.version not in here.get(extension.name, ()):
            available = here.get(extension.name, ("not available",))[0]
            return f"extension {extension.name} is {available} here, and was {extension.version}"
    return ""


def _variable_difference(inputs: Inputs, digests: Digests, environ: Mapping[str, str], ignore: Collection[str]) -> str:
    names = set(inputs.variables)
    if inputs.all_variables or inputs.names is not None:
        names |= chosen(environ, inputs.names, None, ignore)
    for name in sorted(names):
        before, digest = inputs.variables.get(name, MISSING), digests.of_variable(name, environ.get(name))
        if digest != before:
            new = "set now" if before == MISSING else "set to another value"
            return f"{shown(name)} is {'no longer set' if digest == MISSING else new}"
    return ""


def _file_difference(inputs: Inputs, digests: Digests) -> str:
    of_file = digests.of_file
    for name, before in inputs.files.items():
        if (digest := of_file(name)) != before:
            verb = "is new" if before == MISSING else "is gone" if digest == MISSING else "changed"
            return f"{shown(name)} {verb}"
    for name, before in inputs.folders.items():
        if digests.of_folder(name) != before:
            return f"the names of the files in {shown(name)} changed"
    for name, before in inputs.modules.items():
        if digests.of_modules(name) != before:
            return f"the modules in {shown(name)} changed"
    for name, before in inputs.packages.items():
        if digests.of_packages(name) != before:
            return f"the packages in {shown(name)} changed"
    return ""


def _listing_difference(inputs: Inputs, root: Path, digests: Digests, environ: Mapping[str, str]) -> str:
    """Return which file counts now and did not then. One that no longer counts is compared as long as it is there."""
    rule, began_ns = listing_rule(inputs.patterns, environ), time.time_ns()
    if digests.known_listing(rule) == inputs.listing:
        return ""
    found = list_inputs(root, inputs.patterns, environ)
    if found is None:
        return "Git cannot list the project's files"
    remember_listing(found, digests, rule, began_ns)
    new = found.names - inputs.files.keys()
    return f"{shown(min(new))} is new" if new else ""
