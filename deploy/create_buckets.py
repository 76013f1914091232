"""Make the buckets of the arguments where they do not exist; run again, it changes nothing.

Endpoint and credentials come from the environment: AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY.
"""

from __future__ import annotations

import sys

import boto3


def main(names: list[str]) -> None:
    if not names:
        sys.exit("usage: create_buckets.py BUCKET …")
    client = boto3.client("s3")
    there = {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}
    for name in names:
        if name not in there:
            client.create_bucket(Bucket=name)
        print(f"{name}: {'was there' if name in there else 'made'}")


if __name__ == "__main__":
    main(sys.argv[1:])
