"""The door: imported by Python's `site` before the program starts. Then the environment's own sitecustomize runs.

`site` prints an error of this module and goes on, and the program would then reach the database that its settings name.
So an error of ours ends the process. An old Python must get as far as that: nothing here needs more than Python 3.
"""

import os
import sys

FOLDER = os.path.dirname(os.path.abspath(__file__))

try:
    if sys.version_info < (3, 8):  # noqa: UP036 - the interpreter is the project's
        raise RuntimeError(  # noqa: TRY301
            "Python " + sys.version.split()[0] + " is older than 3.8, the oldest that can be led"
        )
    # Children inherit PYTHONPATH; the program itself must not find our modules where it looks for its own.
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry) != FOLDER]
    _package = type(sys)("dbtools_lead")
    _package.__path__ = [FOLDER]
    sys.modules["dbtools_lead"] = _package
    __import__("dbtools_lead.start", fromlist=["start"]).start()
except BaseException as error:  # noqa: BLE001 - whatever it is, the program must not go on
    os.write(2, ("dbtools: this program cannot be led: " + type(error).__name__ + ": " + str(error) + "\n").encode())
    os._exit(70)  # EX_SOFTWARE; raising would not end it

_found = (finder.find_spec("sitecustomize", None) for finder in sys.meta_path if hasattr(finder, "find_spec"))
_spec = next((spec for spec in _found if spec is not None), None)
if _spec is not None and _spec.loader is not None:
    from importlib.util import module_from_spec

    _module = module_from_spec(_spec)
    sys.modules["sitecustomize"] = _module
    _spec.loader.exec_module(_module)  # its errors are its own: `site` treats them as it would without us
