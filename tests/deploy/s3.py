"""An S3 endpoint on loopback: moto's server as a process of its own."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.processes import BIN, answers, free_port, running


class S3:
    """An S3 endpoint, and the environment by which boto3, DVC and MLflow find it."""

    def __init__(self, url: str, empty: Path):
        self.url = url
        self.env = {
            "AWS_ENDPOINT_URL": url,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            # Instead of what a developer's own account would add.
            "AWS_CONFIG_FILE": str(empty),
            "AWS_SHARED_CREDENTIALS_FILE": str(empty),
        }

    def bucket(self, name: str) -> str:
        """Makes the bucket ``name``, and returns its ``s3://`` URL."""
        self.client().create_bucket(Bucket=name)
        return f"s3://{name}"

    def keys(self, bucket: str) -> list[str]:
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return sorted(item["Key"] for page in pages for item in page.get("Contents", ()))

    def check_credentials(self, on: bool) -> None:
        """moto believes everybody until it is told to look at keys and signatures."""
        body = b"0" if on else b"inf"
        asked = urllib.request.Request(f"{self.url}/moto-api/reset-auth", body, {"Content-Type": "text/plain"})
        urllib.request.urlopen(asked, timeout=10).close()

    def client(self):
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
        )


@pytest.fixture(scope="session")
def s3(tmp_path_factory) -> Iterator[S3]:
    """moto's server as a process of its own."""
    url = f"http://127.0.0.1:{free_port()}"
    command = [str(BIN / "moto_server"), "--host", "127.0.0.1", "--port", url.rpartition(":")[2]]
    log = tmp_path_factory.mktemp("s3") / "log"
    empty = log.with_name("config")
    empty.touch()
    with running(command, lambda: answers(f"{url}/moto-api/"), log):
        yield S3(url, empty)


@pytest.fixture
def s3_env(s3, monkeypatch) -> S3:
    """The endpoint, with this process's environment pointing at it."""
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    for name, value in s3.env.items():
        monkeypatch.setenv(name, value)
    return s3
