import re
import shlex
from pathlib import Path

import pytest
import yaml

from service.settings import environment_name, load, names
from tests.unit.test_project_files import is_command, schema_errors

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
DOCKERFILE = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
PINNED = re.compile(r"^[\w./-]+:\d+\.\d+\.\d+[\w.-]*$")


def _instructions(name):
    return re.findall(rf"^{name} (.*)$", DOCKERFILE, re.MULTILINE)


def test_the_compose_file_is_valid():
    assert schema_errors(COMPOSE, "compose-spec") == []


@pytest.mark.parametrize("name", SERVICES)
def test_every_image_is_pinned_to_a_whole_version(name):
    assert PINNED.match(SERVICES[name]["image"])


@pytest.mark.parametrize("name", OURS)
def test_our_services_run_commands_that_exist(name):
    assert is_command(OURS[name]["command"])


@pytest.mark.parametrize("name", OURS)
def test_every_environment_name_is_a_setting_and_every_value_fits(name):
    environment = OURS[name]["environment"]

    assert set(environment) <= {environment_name(setting) for setting in names()}
    assert load(environ=environment).settings.kafka.bootstrap == "kafka:9092"


def test_addresses_lead_to_services_of_the_file():
    environment = OURS["worker"]["environment"]

    assert environment["WEIR_KAFKA_BOOTSTRAP"].partition(":")[0] in SERVICES
    assert re.match(r"redis://(\w+):", environment["WEIR_REDIS_URL"])[1] in SERVICES


def test_everything_that_keeps_running_has_a_health_check_and_the_worker_waits_for_the_topics():
    assert all("healthcheck" in service for service in SERVICES.values() if service.get("restart") != "no")
    assert OURS["worker"]["depends_on"]["topics"] == {"condition": "service_completed_successfully"}
    assert OURS["topics"]["depends_on"]["kafka"] == {"condition": "service_healthy"}


def test_redis_never_evicts_and_every_port_is_on_loopback():
    command = SERVICES["valkey"]["command"]

    assert command[command.index("--maxmemory-policy") + 1] == "noeviction"
    assert all(port.startswith("127.0.0.1:") for service in SERVICES.values() for port in service.get("ports", []))


def test_the_image_is_built_from_files_that_exist_and_that_docker_sees():
    seen = set(re.findall(r"^!([\w./-]+?)/?$", (ROOT / ".dockerignore").read_text(), re.MULTILINE))
    sources = [word for line in _instructions("COPY") if not line.startswith("--from") for word in shlex.split(line)[:-1]]

    assert sources
    assert all((ROOT / source).exists() and source.partition("/")[0] in seen for source in sources)


def test_the_image_has_every_package_of_the_project():
    layers = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests", "benchmarks"}

    assert layers <= {shlex.split(line)[0] for line in _instructions("COPY")}


def test_the_image_installs_from_the_locks_and_does_not_run_as_root():
    assert all(PINNED.match(line.split()[0]) for line in _instructions("FROM"))
    assert "--require-hashes --no-deps -r requirements/runtime.txt" in DOCKERFILE
    assert _instructions("USER") == ["weir"]
    assert _instructions("ENTRYPOINT") == ['["weir"]']
    assert is_command(yaml.safe_load(_instructions("CMD")[0]))


def test_image_and_makefile_take_the_same_packages_to_build_the_project():
    wanted = re.search(r"BUILD_PACKAGES := (\S+)", (ROOT / "Makefile").read_text())[1]

    assert f"/^({wanted})==/" in DOCKERFILE
    assert all(f"\n{name}==" in "\n" + (ROOT / "requirements" / "dev.txt").read_text() for name in wanted.split("|"))
