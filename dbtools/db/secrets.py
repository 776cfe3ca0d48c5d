"""Mask passwords in text that is printed, logged or put into an error.

Three nets, because a text may quote a URL that somebody else wrote: every secret this process has met, however it was
written; the place of a password in anything that looks like a URL; and key=value forms.
"""

from __future__ import annotations

import os
import re
from urllib.parse import quote, quote_plus, unquote

SECRET_KEYS = ("password", "sslpassword", "oauth_client_secret", "scram_client_key", "scram_server_key")
MIN_LENGTH = 4
"""A shorter password would mask innocent text; the patterns still find it in its places."""
SAFE_LENGTH = 8
"""A shorter password is masked as a word only, not inside of one."""
PUBLIC = {"postgres", "postgresql", "password", "localhost"}
"""Passwords that hide nothing, and would mask half of every message."""
_IN_URL = re.compile(r"(://[^/\s:@]*:)(?!PASSWORD@[^\s'\"@]*(?:[\s'\"]|$))[^\s'\"]*(@)")
"""The place of a password in a URL; the word PASSWORD stands there in an example."""
_known: dict[str, re.Pattern[str]] = {}


def remember(*secrets: str | None, public: tuple[str, ...] = ()) -> None:
    """Mask these texts from now on: as they are, percent-encoded and decoded, in any case.

    One that equals a name in `public` (the user's, the database's) is no secret.
    """
    shown = PUBLIC | {name.lower() for name in public}
    for secret in filter(None, secrets):
        for form in {secret, unquote(secret), quote(secret, safe=""), quote_plus(secret), repr(secret)[1:-1]}:
            if len(form) >= MIN_LENGTH and form not in _known and form.lower() not in shown:
                edge = r"\b" if len(form) < SAFE_LENGTH and form.isalnum() else ""
                _known[form] = re.compile(f"{edge}{re.escape(form)}{edge}", re.IGNORECASE)


def remember_unreadable(url: str) -> None:
    """Mask what may be the password of a URL that is malformed: all between the user's colon and the last @, or ://."""
    scheme, _, rest = url.partition("://")
    if rest:
        remember(scheme.partition(":")[2])
    password = (rest or url).rpartition("@")[0].partition(":")[2]
    remember(password, *re.split(r"[/ ?#&=:@]", password))


def mask(text: str, password: str = "") -> str:
    """Return `text` without `password`, without any secret met so far, and without what looks like one."""
    remember(password, os.environ.get("PGPASSWORD"))
    lowered = text.lower()  # patterns without case are slow: a step may print 100 MB
    for form in sorted(_known, key=len, reverse=True):
        if form.lower() in lowered:
            text = _known[form].sub("***", text)
    text = _IN_URL.sub(r"\1***\2", text)
    if "password" not in lowered:
        return text
    return re.sub(r"(?i)(password\s*=\s*)('(?:[^'\\]|\\.)*'|[^&\s'\"]+)", r"\1***", text)
