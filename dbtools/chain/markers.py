"""Words that mark an environment or a database as one whose data people need: production, or staging.

They are read generously: a value in quotes, with a region or a number, in any case, and one that only mentions
production ("non-prod", "copy of production"). In doubt a reset is refused; one variable lets it go on. UAT, demo, test,
preview and development are what a seed is made for, so those words mark nothing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

VARIABLES = (
    *("NODE_ENV", "APP_ENV", "ENVIRONMENT", "ENV", "STAGE", "ENVIRONMENT_NAME", "ENV_NAME", "APP_SETTINGS"),
    *("DJANGO_SETTINGS_MODULE", "DJANGO_CONFIGURATION", "SPRING_PROFILES_ACTIVE", "QUARKUS_PROFILE"),
    *("MICRONAUT_ENVIRONMENTS", "WP_ENVIRONMENT_TYPE", "RAILWAY_ENVIRONMENT_NAME", "CI_ENVIRONMENT_NAME"),
    *("CI_ENVIRONMENT_TIER", "CONTEXT", "APP_CONFIG", "FLASK_CONFIG"),
)
"""Variables that name the environment. CONTEXT is Netlify's."""
SUFFIXES = ("_ENV", "_ENVIRONMENT", "_STAGE")
"""So does every variable with such a name: RAILS_ENV, FLASK_ENV, VERCEL_ENV, ASPNETCORE_ENVIRONMENT …"""
EXCEPTIONS = ("VIRTUAL_ENV", "CONDA_DEFAULT_ENV", "BASH_ENV")
"""But not these: they name a folder or a file."""
PRODUCTION = ("production", "prod", "prd", "live")
STAGING = ("staging", "stage", "stg")
PROTECTED = ("protected", "protect", "do not", "don't", "must not", "never", "hands off", "keep out")
"""In a database's comment only."""

_MENTIONS = re.compile(r"(?<!\bre)prod(?!uct(?:s|or|ors|ivity)?(?![a-z])|ucer|ucing)")
"""Production in any form, such as preprod and produktion, but no products."""
_DOUBTS = {"not", "non", "no", "isn", "never", "pre", "copy", "clone", "dump", "like", "soon", "former", "formerly"}
_DENIED = re.compile(r"\b(?:is_)?protected[\"']?\s*(?:[=:]|is)\s*[\"']?(?:false|no|off|0)\b")
_PROTECTED = re.compile(rf"(?<![a-z])(?:{'|'.join(PROTECTED).replace(' ', '[ _-]+')})(?![a-z])", re.IGNORECASE)
_PATH = re.compile(r"[/~.\\]")


def marked_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables whose value marks the environment, each with `marked`'s answer."""
    found = {name: marked(_value(name, text)) for name, text in environ.items() if names_environment(name)}
    return {name: answer for name, answer in found.items() if answer}


def names_environment(variable: str) -> bool:
    """Return whether a variable of this name says which environment this is."""
    name = variable.upper()
    return name in VARIABLES or (name.endswith(SUFFIXES) and name not in EXCEPTIONS)


def marked(text: str) -> str:
    """Return what a text marks: "is a production", "may be a production", "is a staging", or "" where nothing."""
    text = _PROTECTED.sub(" ", text)  # the "not" of "do not touch" denies nothing
    lower = text.casefold()
    words = set(re.findall(r"[a-z]+", lower))
    words |= {part.casefold() for part in re.findall(r"[A-Z]?[a-z]+", text)}  # ProdEu
    for kind, known in (("production", PRODUCTION), ("staging", STAGING)):
        if words & {*known}:
            return f"{'may be' if words & _DOUBTS else 'is'} a {kind}"
    return "may be a production" if _MENTIONS.search(lower) else ""


def protects(comment: str) -> bool:
    """Return whether a database's comment asks to leave it alone."""
    return bool(_PROTECTED.search(_DENIED.sub("", comment.casefold().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'"))))


def _value(name: str, text: str) -> str:
    value = text.strip().strip("\"'")
    if name.upper() == "DJANGO_SETTINGS_MODULE":
        return value.rpartition(".")[2]  # the packages before are called after the product
    return "" if _PATH.match(value) else value
