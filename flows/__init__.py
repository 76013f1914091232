"""Prefect: *when* the chain runs, what is tried again, who is told. *What* runs is dvc.yaml's alone.

A worker needs this package, prefect and dvc; it never imports torch. `flows.pipeline` and `flows.refresh` are the
flows, `flows.serve` puts them on a schedule, `flows.doctor` mends what a dead process left behind.
"""

from __future__ import annotations

import os

# Prefect reads these when it is imported. A private server takes over ten seconds to start on two cores.
os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120")
