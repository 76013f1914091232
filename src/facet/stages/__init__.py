"""One file a step. A stage reads its section of params.yaml, calls the library, writes an artifact; no more.

The step in dvc.yaml, the file here and the section in params.yaml carry one name.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable

from facet import collector
from facet.errors import FacetError
from facet.lifeline import die_with_parent

_NO_TELEMETRY = {
    "DO_NOT_TRACK": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "GX_ANALYTICS_ENABLED": "false",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}


def run(main: Callable[[], None]) -> None:
    """Run a stage's ``main``: an expected error becomes one sentence and its exit code.

    The step ends with whoever started it: a trainer that nobody waits for would hold the GPU, and write beside its
    successor. ``--debug`` or FACET_DEBUG=1 shows the traceback as well. Telemetry of the libraries is off unless asked
    for.
    """
    if _is_the_program():
        die_with_parent()
        collector.freeze_imports()
    for name, value in _NO_TELEMETRY.items():
        os.environ.setdefault(name, value)
    warnings.formatwarning = lambda message, *_, **__: f"warning: {message}\n"
    try:
        main()
    except FacetError as error:
        if "--debug" in sys.argv or os.environ.get("FACET_DEBUG") == "1":
            raise
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("interrupted: run the same command again to go on from the last checkpoint.", file=sys.stderr)
        sys.exit(130)


def _is_the_program() -> bool:
    """Whether this process was started as ``python -m facet.stages.<step>``, and is not a test or a notebook."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return spec is not None and spec.name.startswith(f"{__name__}.")
