"""Who else must live for a flow to go on: the worker that started it, and the server that shows it.

A flow whose worker or server was killed would compute on unseen, with nobody able to cancel it. So it stops its steps,
whose checkpoints the next run goes on from.
"""

from __future__ import annotations

import os
import signal
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable

from facet.errors import ParamsError

_LOOK_SECONDS = 0.5
# A server that refuses connections is gone; one that answers late may only be busy.
_SILENCE_SECONDS = 60.0
# A flow that was stopped is given this long to tell Prefect and leave.
_LEAVE_SECONDS = 8.0


class Watch:
    """A thread that calls ``stop`` with the reason, once, when the parent process or the server is gone.

    ``api`` is Prefect's URL. A server may be restarted within FACET_SERVER_GRACE seconds (3 unless set).
    """

    def __init__(self, api: str, stop: Callable[[str], None]):
        self._api, self._stop = api.rstrip("/"), stop
        # Only a runner sets this; a flow started by hand may outlive its shell (nohup).
        self._parent = os.getppid() if os.environ.get("PREFECT__FLOW_RUN_ID") else None
        self._grace = grace_of_environment()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look, name="facet-watch", daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()

    def _look(self) -> None:
        refused = silent = None
        while not self._done.wait(_LOOK_SECONDS):
            if self._parent is not None and os.getppid() != self._parent:
                return self._end("its worker is gone")
            answer = _answer(self._api)
            now = time.monotonic()
            refused = (refused or now) if answer == "refused" else None
            silent = (silent or now) if answer != "ok" else None
            if refused and now - refused >= self._grace:
                return self._end("the Prefect server is gone")
            if silent and now - silent >= max(_SILENCE_SECONDS, self._grace):
                return self._end("the Prefect server does not answer")

    def _end(self, why: str) -> None:
        self._stop(why)


def _answer(api: str) -> str:
    """ "ok", "refused" or "late"."""
    try:
        urllib.request.urlopen(f"{api}/health", timeout=5).close()
    except urllib.error.HTTPError:
        return "ok"
    except ConnectionError:
        return "refused"
    except urllib.error.URLError as error:
        return "refused" if isinstance(error.reason, ConnectionError) else "late"
    except OSError:
        return "late"
    return "ok"


def grace_of_environment() -> float:
    """FACET_SERVER_GRACE in seconds. Raises ParamsError for anything but a number."""
    given = os.environ.get("FACET_SERVER_GRACE", "3")
    try:
        return max(0.0, float(given))
    except ValueError:
        raise ParamsError(f"FACET_SERVER_GRACE is {given!r}, expected seconds.") from None


def leave_in_time() -> None:
    """Have this process killed where it is still there in some seconds: its programs are gone, only Prefect keeps it.

    Prefect goes on trying to reach a server that is gone, and an interrupt can leave it waiting at exit for a thread
    that will not come back.
    """

    def leave() -> None:
        time.sleep(_LEAVE_SECONDS)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=leave, name="facet-leave", daemon=True).start()
