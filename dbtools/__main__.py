"""The program `dbtools`, also `python -m dbtools`: the tasks of `dbtools.commands`, without a tasks.py.

A plain command line of a few tasks runs without Invoke (`commands.quick`); the collection is imported for the others.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Run the tasks that the command line names, and exit with their code."""
    from dbtools.commands import quick

    if quick.run(sys.argv[1:]):
        return
    from invoke.program import Program

    import dbtools
    from dbtools import console
    from dbtools.commands.collection import insert_options, namespace

    class Dbtools(Program):
        """Invoke's program, which also reads what its parser lacks."""

        def parse_collection(self) -> None:
            insert_options(self.core.unparsed)
            super().parse_collection()

    for name in namespace.task_names:
        namespace[name].__doc__ = console.as_typed(namespace[name].__doc__ or "")
    Dbtools(version=dbtools.__version__, namespace=namespace, name="dbtools", binary="dbtools").run()


if __name__ == "__main__":
    main()
