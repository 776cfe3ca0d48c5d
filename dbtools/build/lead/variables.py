"""Variables of the environment that the program reads."""

from __future__ import annotations

import os

TYPE_CHECKING = False  # not typing's: its import takes milliseconds, in every child
if TYPE_CHECKING:
    from typing import Any, Iterator

    from .record import Record

_OURS = ("DBTOOLS_LEAD_URL", "DBTOOLS_LEAD_FENCE", "DBTOOLS_RECORD", "PYTHONPATH")
"""Set for the child by us."""


def install(record: Record) -> None:
    """Record what is read from `os.environ` from now on, through os.getenv too.

    The object stays what it is, and an os._Environ, so what other modules have imported, `isinstance`, `copy()` and
    `os.environ | {}` go on working. Reading all of it (by iterating, as a copy does) is recorded as that alone.
    """
    all_read = False

    class RecordedEnviron(os._Environ):  # type: ignore[type-arg] # Python 3.8 cannot subscript it  # noqa: SLF001
        def __getitem__(self, key: Any) -> Any:
            name = os.fsdecode(key) if isinstance(key, (str, bytes)) else None
            if name and name not in _OURS and not all_read:
                record.write("variable", name)
            return super().__getitem__(key)

        def __iter__(self) -> Iterator[Any]:
            nonlocal all_read
            all_read = True
            record.write_all_variables()
            return super().__iter__()

    os.environ.__class__ = RecordedEnviron
    if hasattr(os, "environb"):
        os.environb.__class__ = RecordedEnviron
