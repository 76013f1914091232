"""What can be held of deploy/compose.yaml without a container engine: it is read, not started."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.compose import FOLDER, RAW, VARIABLE, example, fill_in
from tests.deploy.processes import BIN

TEXT = (FOLDER / "compose.yaml").read_text()
SERVICES = RAW["services"]
FILLED = fill_in(SERVICES, {name: value or "secret" for name, value in example().items()})
SECRET = re.compile(r"PASSWORD|SECRET|ACCESS_KEY|TOKEN")


@pytest.fixture(params=SERVICES)
def service(request) -> dict:
    return FILLED[request.param]


def test_it_is_what_the_compose_specification_allows():
    done = subprocess.run(
        [str(BIN / "check-jsonschema"), "--builtin-schema", "vendor.compose-spec", str(FOLDER / "compose.yaml")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_every_variable_stands_in_the_example_and_every_one_there_is_used():
    text = "\n".join(line for line in TEXT.splitlines() if not line.lstrip().startswith("#"))
    assert {found["name"] for found in VARIABLE.finditer(text)} == set(example())


def test_the_example_holds_no_secret_and_none_has_a_default():
    values = example()
    secrets = {name for name in values if SECRET.search(name)} | {"S3_ACCESS_KEY", "S3_SECRET_KEY"}
    assert {values[name] for name in secrets} == {""}
    assert {found["how"] for found in VARIABLE.finditer(TEXT) if found["name"] in secrets} == {"?"}


@pytest.mark.parametrize("name", [name for name, value in example().items() if not value])
def test_compose_refuses_to_start_while_a_secret_is_empty(name):
    with pytest.raises(KeyError, match=f"set {name} in deploy/.env"):
        fill_in(SERVICES, {other: value or "secret" for other, value in example().items()} | {name: ""})


def test_no_secret_stands_on_a_command_line(service):
    assert "secret" not in " ".join(service.get("command", []))


def test_images_have_versions_or_are_built_here(service):
    assert "build" in service or re.search(r":v?\d+\.\d+\S*$", service["image"])
    for key in ("context", "dockerfile"):
        if key in service.get("build", {}):
            assert (FOLDER / service["build"]["context"] / service["build"].get("dockerfile", "Dockerfile")).is_file()


def test_nobody_is_root_but_whoever_hands_over_the_volume():
    images_with_a_user = {"buckets", "mlflow", "prefect"}  # servers.Dockerfile
    for name, one in FILLED.items():
        if name == "s3-volume":  # nothing but chown, without a network
            assert (one["user"], one["network_mode"], one["cap_add"]) == ("0:0", "none", ["CHOWN"])
        else:
            assert name in images_with_a_user or re.fullmatch(r"[1-9]\d*:[1-9]\d*", one["user"]), name
        assert one["cap_drop"] == ["ALL"]
        assert one["security_opt"] == ["no-new-privileges:true"]
        assert one["read_only"] is True


def test_ports_are_published_on_loopback_only(service):
    assert all(re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port) for port in service.get("ports", []))


def test_what_it_depends_on_exists_and_can_get_into_that_state(service):
    for name, wanted in service.get("depends_on", {}).items():
        if wanted["condition"] == "service_healthy":
            assert "healthcheck" in SERVICES[name]
        else:
            assert wanted["condition"] == "service_completed_successfully"
            assert SERVICES[name]["restart"] != "unless-stopped"


def test_servers_are_watched_and_given_time_to_start():
    for name, one in SERVICES.items():
        if one["restart"] == "unless-stopped":
            seconds = int(one["healthcheck"]["start_period"].removesuffix("s"))
            assert seconds >= (120 if name in {"mlflow", "prefect", "worker"} else 30)


def test_volumes_are_named_or_exist(service):
    for volume in service.get("volumes", []):
        source = volume.split(":")[0]
        assert source in RAW["volumes"] or (FOLDER / source).exists(), volume
    assert set(RAW["volumes"]) <= {v.split(":")[0] for one in FILLED.values() for v in one.get("volumes", [])}


def test_addresses_name_services_and_their_ports(service):
    """Every http://NAME:PORT and @NAME:PORT of a variable is a service of this file that listens there."""
    ports = {"postgres": "5432"} | {
        name: one["ports"][0].rpartition(":")[2] for name, one in SERVICES.items() if "ports" in one
    }
    for value in service.get("environment", {}).values():
        for name, port in re.findall(r"(?:@|https?://)([a-z0-9.]+):(\d+)", value):
            assert name == "127.0.0.1" or ports[name] == port, value


def test_nothing_phones_home():
    quiet = RAW["x-quiet"]
    for name in ("buckets", "mlflow", "prefect", "worker"):
        assert quiet.items() <= SERVICES[name]["environment"].items()
    assert quiet["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"


@pytest.mark.parametrize("name", ["mlflow", "prefect", "worker"])
def test_every_flag_exists_in_the_locked_version(name):
    command = FILLED[name]["command"]
    words = [word for word in command if not word.startswith("-")]
    told = subprocess.run(
        [str(BIN / words[0]), *words[1:], "--help"], capture_output=True, text=True, check=True, timeout=120
    ).stdout
    flags = [word.partition("=")[0] for word in command if word.startswith("-")]
    assert flags
    assert not [flag for flag in flags if not re.search(rf"{flag}\b", told)]


def test_every_prefect_variable_is_a_setting():
    """Prefect ignores a misspelt one in silence."""
    given = {key for one in SERVICES.values() for key in one.get("environment", {}) if key.startswith("PREFECT_")}
    code = "from prefect.settings.legacy import _get_settings_fields, Settings; print(*_get_settings_fields(Settings))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120).stdout
    assert given <= set(told.split())


def test_the_servers_are_of_the_versions_that_clients_have():
    def pins(lock: Path) -> set[str]:
        return {line.split()[0] for line in lock.read_text().splitlines() if line[:1].isalnum()}

    servers = pins(FOLDER / "requirements.lock")
    assert {name.split("==")[0] for name in servers} >= {"mlflow", "prefect", "psycopg2-binary", "asyncpg", "boto3"}
    assert servers <= pins(FOLDER.parent / "requirements.lock")
    assert "://" not in (FOLDER / "requirements.lock").read_text()


def test_what_the_example_is_copied_to_is_ignored_by_git():
    ignored = subprocess.run(["git", "check-ignore", "--quiet", "deploy/.env"], cwd=FOLDER.parent, check=False)
    assert ignored.returncode == 0
