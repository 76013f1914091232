"""``facet serve``: a promoted model over HTTP."""

from __future__ import annotations

import sys
from typing import Annotated

import typer


def serve(
    alias: Annotated[str, typer.Option("--alias", help="Serve the version that holds this alias now.")] = "staging",
    name: Annotated[
        str | None, typer.Option("--name", help="The registered model (default: register.name of params.yaml).")
    ] = None,
    host: Annotated[
        str,
        typer.Option(
            help="Where to listen. There is no login: elsewhere than on loopback, put a proxy with one in front."
        ),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 5001,
    timeout: Annotated[int, typer.Option(min=1, help="Seconds after which a request is given up (504).")] = 120,
) -> None:
    """Serve a promoted model over HTTP, in MLflow's protocol: attributes in, PNGs out.

    The alias is looked up once: after a promotion, start it again. docs/serving.md shows requests and answers.

    Example: facet serve --alias staging
    """
    from facet.registry.serving import become_server, resolve

    served = resolve(name or _configured_name(), alias, host, port)
    print(f"{served.model} version {served.version} ({served.alias}) at {served.url} in a moment; Ctrl-C ends it.")
    if host not in ("127.0.0.1", "localhost", "::1"):
        print(f"warning: {host} may be reached by others, and this server asks for no login.", file=sys.stderr)
    sys.stdout.flush()
    become_server(served, timeout)


def _configured_name() -> str:
    from facet.params import read_section
    from facet.registry.mlflow_registry import RegisterParams

    return read_section("register", RegisterParams).name
