"""Who is told when a run fails: a webhook, whose address is a secret and so comes from the environment."""

from __future__ import annotations

import json
import os
import socket
import urllib.request
from typing import Any

from prefect.logging import get_run_logger

_TIMEOUT_SECONDS = 10


def notify(flow: Any, flow_run: Any, state: Any) -> None:
    """POST {"text", "flow", "run", "state", "message", "host", "url"} to FACET_WEBHOOK_URL, where one is set.

    ``text`` alone is what Slack, Mattermost and Discord-compatible hooks show. A webhook that can't be reached is
    logged and changes nothing.
    """
    url = os.environ.get("FACET_WEBHOOK_URL")
    if not url:
        return
    page = f"{os.environ.get('PREFECT_UI_URL', '').rstrip('/')}/runs/flow-run/{flow_run.id}"
    content = {
        "text": f"facet: {flow.name} {flow_run.name} is {state.name.lower()}: {state.message}",
        "flow": flow.name,
        "run": flow_run.name,
        "state": state.name,
        "message": state.message,
        "host": socket.gethostname(),
        "url": page if page.startswith("http") else None,
    }
    try:
        if not url.startswith(("https://", "http://")):
            raise ValueError("expected an http or https address")
        request = urllib.request.Request(
            url, json.dumps(content).encode(), {"Content-Type": "application/json", "User-Agent": "facet"}
        )
        urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS).close()
    except (OSError, ValueError) as error:
        # The address may hold a token: it is not logged.
        get_run_logger().warning("FACET_WEBHOOK_URL could not be told (%s)", getattr(error, "reason", None) or error)
