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
    from dbtools.commands.program import Program

    Program().run()


if __name__ == "__main__":
    main()
