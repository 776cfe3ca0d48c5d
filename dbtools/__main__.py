"""The program `dbtools`, also `python -m dbtools`: the tasks of `dbtools.commands`, without a tasks.py.

The collection is imported when the program starts and not before, so that a quicker way can stand in front of it.
"""

from __future__ import annotations


def main() -> None:
    """Run the tasks that the command line names, and exit with their code."""
    from dbtools.commands.program import Program

    Program().run()


if __name__ == "__main__":
    main()
