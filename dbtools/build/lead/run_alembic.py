"""Upgrade to the heads as `alembic upgrade heads` does, and write down what Alembic then knows.

    python run_alembic.py REPORT.json [CONFIG]

Alembic's own command line does the work: it finds alembic.ini or [tool.alembic] in the working directory, or takes
CONFIG, and the project's env.py runs as it is. An import that only works from the working directory works too.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .lead_failure import fail
else:
    from lead_failure import fail


def main(report: str, config: str | None = None) -> None:
    """Upgrade, then write the heads, all revisions and Alembic's version to the file `report`."""
    sys.path[0] = os.path.dirname(sys.executable)  # instead of this folder: where the script `alembic` lies
    sys.path.append(os.getcwd())
    arguments = ["--raiseerr", *(["-c", config] if config else []), "upgrade", "heads"]
    sys.argv = ["alembic", *arguments]  # for an env.py that looks there

    import alembic
    from alembic.config import CommandLine
    from alembic.script import ScriptDirectory

    scripts: list[Any] = []
    read = ScriptDirectory.from_config

    def remember(*arguments: Any, **keywords: Any) -> Any:
        scripts.append(read(*arguments, **keywords))
        return scripts[-1]

    # A second reading would execute every revision once more.
    ScriptDirectory.from_config = remember  # type: ignore[method-assign]
    CommandLine(prog="alembic").main(arguments)
    script = scripts[0]
    found = {
        # As the version table has them: a head that another one depends on is not in it.
        "heads": [revision.revision for revision in script.get_revisions("heads") if revision],
        "revisions": [revision.revision for revision in script.walk_revisions()],
        "version": alembic.__version__,
    }
    with open(report, "w", encoding="utf-8") as file:
        json.dump(found, file)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except Exception as error:  # noqa: BLE001 - anything may come from the project
        fail(error)
