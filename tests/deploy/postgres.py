"""A PostgreSQL for the tests, from the machine's own binaries.

PostgreSQL refuses root, so root has ``nobody`` run it.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.processes import free_port, running

PASSWORD = "only-for-tests"


class Postgres:
    """A running server, reached by password over loopback as the user ``facet``."""

    def __init__(self, bin_folder: Path, port: int):
        self._bin = bin_folder
        self.port = port

    def run_file(self, path: Path) -> None:
        self._client("psql", "--no-psqlrc", "--set=ON_ERROR_STOP=1", f"--file={path}", "postgres")

    def run(self, sql: str, database: str = "postgres") -> str:
        """What ``sql`` returns, unaligned and without headings."""
        return self._client(
            "psql", "--no-psqlrc", "--tuples-only", "--no-align", "--command", sql, database
        ).stdout.strip()

    def ready(self) -> bool:
        return self._client("pg_isready", "--quiet", check=False).returncode == 0

    def _client(self, program: str, *arguments: str, check: bool = True) -> subprocess.CompletedProcess:
        command = [str(self._bin / program), "--host=127.0.0.1", f"--port={self.port}", "--username=facet", *arguments]
        env = {**os.environ, "PGPASSWORD": PASSWORD}
        return subprocess.run(command, env=env, capture_output=True, text=True, check=check, timeout=60)


@contextlib.contextmanager
def postgres() -> Iterator[Postgres]:
    """A fresh server with password authentication, and nothing of it left afterwards."""
    nobody = pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None
    # Not pytest's folder, which is closed to other users, and a socket's path must be short.
    with tempfile.TemporaryDirectory(prefix="facet-pg-") as scratch:
        root = Path(scratch)
        bin_folder = binaries()
        (root / "password").write_text(PASSWORD)
        if nobody is not None:
            os.chown(root, nobody, nobody)
            os.chown(root / "password", nobody, nobody)
        subprocess.run(
            [
                str(bin_folder / "initdb"),
                f"--pgdata={root}/data",
                "--username=facet",
                f"--pwfile={root}/password",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale=C",
                "--no-sync",
            ],
            user=nobody,
            group=nobody,
            extra_groups=None if nobody is None else [],
            cwd=root,
            check=True,
            capture_output=True,
        )
        server = Postgres(bin_folder, free_port())
        options = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": root,
            "port": server.port,
            "fsync": "off",
        }
        command = [str(bin_folder / "postgres"), "-D", f"{root}/data"]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        # SIGINT is "fast shutdown": sessions that a server under test left open are closed, not waited for.
        with running(command, server.ready, root / "log", user=nobody, stop=signal.SIGINT):
            yield server


def binaries() -> Path:
    """The folder of initdb, postgres and psql; the test is skipped where there is none.

    No package of the registry brings a PostgreSQL with pg_trgm, which Prefect's migrations need, from hands we know.
    """
    # Debian keeps the servers of all versions off PATH.
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), reverse=True)
    if (found := shutil.which("initdb")) is not None:
        folders.append(Path(found).parent)
    for folder in folders:
        if all((folder / program).exists() for program in ("initdb", "postgres", "psql", "pg_isready")):
            return folder
    pytest.skip("PostgreSQL is not installed here (Debian: apt-get install postgresql)")
