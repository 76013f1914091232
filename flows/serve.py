"""`facet schedule`: serve a flow on a schedule from this very checkout, until the process is stopped."""

from __future__ import annotations

import argparse
import os
import sys
import zoneinfo
from typing import Any

import yaml
from prefect import serve
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.deployments.runner import EntrypointType, RunnerDeployment
from prefect.schedules import Cron
from prefect.settings import get_current_settings

from facet.errors import FacetError, ParamsError
from flows import doctor
from flows.pipeline import pipeline
from flows.refresh import refresh

FLOWS = {"refresh": refresh, "pipeline": pipeline}


def deployment(
    flow: str, name: str, cron: str, timezone: str, parameters: dict[str, Any] | None = None
) -> RunnerDeployment:
    """Deployment ``name`` of ``flow`` at each ``cron`` moment of ``timezone``. Raises ParamsError where one is wrong.

    A run that is due while the last one still runs waits for it.
    """
    try:
        zoneinfo.ZoneInfo(timezone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError):
        raise ParamsError(f"--timezone is {timezone!r}, expected an IANA name such as Europe/Berlin.") from None
    try:
        schedule = Cron(cron, timezone=timezone)
        made = FLOWS[flow].to_deployment(
            name,
            schedules=[schedule],
            parameters=parameters or {},
            concurrency_limit=ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.ENQUEUE),
            # By module, not by file: the steps of the flow are the modules of this package.
            entrypoint_type=EntrypointType.MODULE_PATH,
        )
    except ValueError:
        raise ParamsError(
            f"--cron is {cron!r}, expected five fields: minute, hour, day of month, month, day of week, such as "
            "'0 3 * * *' for every night at three."
        ) from None
    return made


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(
        prog="facet schedule",
        description="Run a flow from this checkout on a schedule, for as long as this command runs.",
        epilog="Example: facet schedule --cron '0 3 * * *' --timezone Europe/Berlin",
    )
    parser.add_argument("--cron", required=True, help="minute hour day month weekday")
    parser.add_argument("--timezone", default="UTC", help="an IANA name (default: UTC)")
    parser.add_argument("--flow", choices=sorted(FLOWS), default="refresh", help="default: refresh")
    parser.add_argument("--name", default="scheduled", help="the deployment's name (default: scheduled)")
    parser.add_argument("--promote-to", metavar="ALIAS", default="staging", help="default: staging; '' for none")
    parser.add_argument("--set", metavar="KEY=VALUE", action="append", default=[], help="a param, for these runs alone")
    given = parser.parse_args()
    # It runs for months: what it says must not wait in a buffer where a service manager reads it.
    sys.stdout.reconfigure(line_buffering=True)
    pairs = [pair.partition("=") for pair in given.set]
    parameters = {"promote_to": given.promote_to or None, "params": {k: yaml.safe_load(v) for k, _, v in pairs}}
    try:
        if not get_current_settings().api.url:
            raise ParamsError(
                "PREFECT_API_URL is not set, and a schedule needs a server that outlives it: `make prefect` in another "
                "terminal, then export PREFECT_API_URL=http://127.0.0.1:4200/api."
            )
        made = deployment(given.flow, given.name, given.cron, given.timezone, parameters)
        # A run whose worker was lost with this command's last process is taken up again.
        for line in doctor.mend_files() + doctor.mend_prefect(resume=True):
            print(line)
    except FacetError as error:
        sys.exit(f"error: {error}")
    # A child of this process must find the package where this process found it.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [os.getcwd(), os.environ.get("PYTHONPATH")]))
    print(f"{given.flow}/{given.name}: {given.cron} {given.timezone}; Ctrl-C ends it, and the schedule with it.")
    serve(made, limit=1, pause_on_shutdown=True, print_starting_message=False)


if __name__ == "__main__":
    main()
