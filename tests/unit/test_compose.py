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
PINNED = re.compile(r"^[\w./-]+:v?\d+\.\d+\.\d+[\w.-]*$")


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
    assert load(environ=environment).settings.kafka.bootstrap == environment["WEIR_KAFKA_BOOTSTRAP"]


@pytest.mark.parametrize("name", OURS)
def test_addresses_lead_to_services_of_the_file(name):
    environment = OURS[name]["environment"]
    redis_place = re.match(r"redis://(\w+:\d+)/", environment["WEIR_REDIS_URL"])[1]
    listeners = SERVICES["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]

    assert f"://{environment['WEIR_KAFKA_BOOTSTRAP']}" in listeners
    if OURS[name].get("network_mode") == "host":
        assert environment["WEIR_KAFKA_BOOTSTRAP"] in _published("kafka")
        assert redis_place in _published("valkey")
    else:
        assert environment["WEIR_KAFKA_BOOTSTRAP"].partition(":")[0] in SERVICES
        assert redis_place.partition(":")[0] in SERVICES


def _published(name):
    """Return localhost:port of what a service publishes."""
    return {"localhost:" + port.split(":")[1] for port in SERVICES[name]["ports"]}


def test_everything_that_keeps_running_has_a_health_check_and_what_uses_topics_waits_for_them():
    running = {name: service for name, service in SERVICES.items() if service.get("restart") != "no"}

    assert all("test" in service["healthcheck"] for service in running.values())
    assert all(
        OURS[name]["depends_on"]["topics"] == {"condition": "service_completed_successfully"} for name in ("worker", "archive", "web")
    )
    assert OURS["topics"]["depends_on"]["kafka"] == {"condition": "service_healthy"}


def test_redis_never_evicts_and_every_port_is_on_loopback():
    command = SERVICES["valkey"]["command"]

    assert command[command.index("--maxmemory-policy") + 1] == "noeviction"
    assert all(port.startswith("127.0.0.1:") for service in SERVICES.values() for port in service.get("ports", []))


def test_what_shares_the_machines_network_listens_on_loopback_only():
    on_host = {name for name, service in SERVICES.items() if service.get("network_mode") == "host"}

    assert on_host == {"web", "prometheus", "grafana"}
    assert load(environ=OURS["web"]["environment"]).settings.web.bind == "127.0.0.1"
    assert "--web.listen-address=127.0.0.1:9090" in SERVICES["prometheus"]["command"]
    assert SERVICES["grafana"]["environment"]["GF_SERVER_HTTP_ADDR"] == "127.0.0.1"


def test_prometheus_and_grafana_find_the_files_and_the_ports_of_the_file():
    scraped = {job["job_name"]: job["static_configs"][0]["targets"] for job in _yaml("deploy/prometheus/prometheus.yml")["scrape_configs"]}
    source = _yaml("deploy/grafana/provisioning/datasources/prometheus.yml")["datasources"][0]
    provider = _yaml("deploy/grafana/provisioning/dashboards/weir.yml")["providers"][0]
    mounted = {
        parts[1]: ROOT / parts[0] for name in ("prometheus", "grafana") for parts in (v.split(":") for v in SERVICES[name]["volumes"])
    }
    home = SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]

    assert set(scraped["weir-worker"]) == _published("worker")
    assert scraped["weir-web"] == [f"localhost:{load(environ=OURS['web']['environment']).settings.web.port}"]
    assert source["url"] == "http://127.0.0.1:9090"
    assert (mounted["/etc/prometheus"] / "prometheus.yml").exists()
    assert (mounted["/etc/grafana/provisioning"] / "dashboards" / "weir.yml").exists()
    assert list(mounted[provider["options"]["path"]].glob("weir-*.json"))
    assert (mounted[provider["options"]["path"]] / Path(home).name).exists()


def _yaml(name):
    return yaml.safe_load((ROOT / name).read_text())


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
