"""The dashboard's addresses without any service: every view answers, with a sentence; nothing else gets through."""

import asyncio
import json
from pathlib import Path

import httpx
import jsonschema
import msgspec
import pytest

from domain.decision import Tier
from domain.errors import ConfigError
from models.bundle import write_bundle
from models.policy import LivePolicy, Thresholds, effective
from models.policy_store import PolicyStore
from service.web import openapi
from service.web.app import build_app
from service.web.dashboard import Dashboard
from service.web.guard import HEADERS, require_loopback
from service.web.pages import Pages
from tests.unit.models_synthetic import trained
from tests.unit.web_scenes import KEY, registry_of, settings_of

DOCUMENT = Path(__file__).parents[2] / "docs" / "openapi.json"
ORIGIN = "http://127.0.0.1:8700"
VIEWS = ("status", "live", "drift", "drift?window=1h", "drift?window=7d", "quality", "models")


def asked(folder, *paths, headers=(), method="GET", pages=None, **environ):
    """Answers of a dashboard that has no Kafka and no Redis."""

    async def run():
        dashboard = Dashboard(settings_of(folder, **environ), config=None)
        transport = httpx.ASGITransport(build_app(dashboard, pages or Pages()), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as client:
            found = [await client.request(method, path, headers=list(headers)) for path in paths]
        await dashboard.close()
        return found

    return asyncio.run(run())


def schema_of(path: str) -> dict:
    """The schema that the OpenAPI document gives an address."""
    document = json.loads(DOCUMENT.read_bytes())
    found = document["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    return {**found, "components": document["components"]}


def test_every_view_of_an_empty_installation_answers_as_documented_and_says_what_would_fill_it(tmp_path):
    answers = asked(tmp_path, *(f"/api/v1/{view}" for view in VIEWS))

    for view, answer in zip(VIEWS, answers, strict=True):
        assert answer.status_code == 200, view
        assert answer.headers["cache-control"] == "no-store"
        body = answer.json()
        assert body["state"] == "empty", view
        jsonschema.validate(body, schema_of(f"/api/v1/{view.partition('?')[0]}"))
        words = body.get("sentence") or body["headline"]
        assert words.endswith("."), view
        if view.startswith("drift"):
            assert (body["together"]["state"], body["together"]["auc"]) == ("empty", None)
            assert body["together"]["sentence"].endswith(".")
    text = " ".join(answer.text for answer in answers)
    for how in ("weir worker", "weir archive", "weir train HISTORY"):
        assert how in text


def test_models_are_shown_as_documented_and_an_unknown_one_is_404_with_a_sentence(tmp_path):
    _, champion = registry_of(tmp_path)

    everything, one, alias, unknown = asked(
        tmp_path, "/api/v1/models", f"/api/v1/models/{champion}", "/api/v1/models/champion", "/api/v1/models/nonsense"
    )

    jsonschema.validate(everything.json(), schema_of("/api/v1/models"))
    assert everything.json()["champion"] == champion
    jsonschema.validate(one.json(), schema_of("/api/v1/models/{model}"))
    assert one.json() == alias.json()
    shares = [found["share"] for found in one.json()["importance"]]
    assert len(shares) == 20
    assert shares == sorted(shares, reverse=True)
    assert one.json()["card"].startswith("# weir")
    assert unknown.status_code == 404
    assert "weir models list" in unknown.json()["sentence"]


def test_the_newest_model_and_the_newest_event_come_first(tmp_path):
    registry, champion = registry_of(tmp_path)
    write_bundle(tmp_path / "other", msgspec.structs.replace(trained().manifest, name="other"), trained().files, KEY)
    second = registry.register(tmp_path / "other")
    registry.promote(second, who="ann", why="better in shadow")

    [answer] = asked(tmp_path, "/api/v1/models")

    assert [row["model"] for row in answer.json()["models"]] == [second, champion]
    assert [event["event"] for event in answer.json()["history"]] == ["promoted", "registered", "registered"]
    promoted = answer.json()["history"][0]
    assert (promoted["what"], promoted["who"], promoted["why"]) == ("promoted to champion", "ann", "better in shadow")
    assert answer.json()["champion"] == second


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/api/v1/drift?window=3h", 400, "window"),
        ("/api/v1/drift/no_such_feature", 404, "/api/v1/drift lists them"),
        ("/api/v1/nonsense", 404, "nothing at /api/v1/nonsense"),
        ("/nonsense", 404, "begins at /"),
        ("/__init__.py", 404, "begins at /"),
        ("/../pyproject.toml", 404, "begins at /"),
        ("/%2e%2e/pyproject.toml", 404, "begins at /"),
        ("/vendor/..%2f..%2fpyproject.toml", 404, "begins at /"),
    ],
)
def test_what_is_not_there_is_a_problem_with_a_sentence(tmp_path, path, status, words):
    [answer] = asked(tmp_path, path)

    assert answer.status_code == status
    problem = answer.json()
    assert problem["status_code"] == status
    assert words in problem["sentence"]


def test_every_answer_has_the_headers_that_lock_pages_in_and_none_that_open_them(tmp_path):
    answers = asked(tmp_path, "/", "/api/v1/status", "/nonsense", "/healthz", headers=[("origin", "http://evil.example")])
    answers += asked(tmp_path, "/", headers=[("host", "evil.example")])

    for answer in answers:
        for name, value in HEADERS.items():
            assert answer.headers[name] == value
        assert not any(name.startswith("access-control-") for name in answer.headers)
        assert "unsafe" not in answer.headers["content-security-policy"]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8700", "localhost:8700", "LOCALHOST", "[::1]:8700", "[::1]"])
def test_the_machines_own_names_are_answered(tmp_path, host):
    [answer] = asked(tmp_path, "/api/v1/status", headers=[("host", host)])

    assert answer.status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8700", "127.0.0.1.evil.example", "localhost.evil", "127.0.0.1:80:80", "", "[::1"]
)
def test_a_name_rebound_to_this_machine_is_refused(tmp_path, host):
    [answer] = asked(tmp_path, "/api/v1/status", headers=[("host", host)])

    assert answer.status_code == 421
    assert "base_currency" not in answer.text


def test_two_names_at_once_are_refused(tmp_path):
    [answer] = asked(tmp_path, "/api/v1/status", headers=[("host", "127.0.0.1:8700"), ("host", "evil.example")])

    assert answer.status_code == 421


@pytest.mark.parametrize(
    "path", ["../secret.js", "vendor/../../secret.js", "/../secret.js", "..", "vendor/..", ".hidden.js", "a b.js", "x\0.js"]
)
def test_no_path_leads_out_of_the_folder(tmp_path, path):
    (tmp_path / "site" / "vendor").mkdir(parents=True)
    (tmp_path / "site" / "index.html").write_text("index")
    for place in (tmp_path, tmp_path / "site"):
        (place / "secret.js").write_text("secret")
        (place / ".hidden.js").write_text("secret")

    assert Pages(tmp_path / "site").find(path) is None
    assert Pages(tmp_path / "site").find("secret.js").content == b"secret"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_nothing_can_be_changed(tmp_path, method):
    [answer] = asked(tmp_path, "/api/v1/status", method=method)

    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD"


def test_pages_are_not_sent_again_unless_they_changed(tmp_path):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "index.html").write_text("<!doctype html>one")
    (tmp_path / "site" / "app.js").write_text("1")
    pages = Pages(tmp_path / "site")

    index, script = asked(tmp_path, "/", "/app.js", pages=pages)
    [same] = asked(tmp_path, "/", pages=pages, headers=[("if-none-match", index.headers["etag"])])
    (tmp_path / "site" / "index.html").write_text("<!doctype html>two")
    [changed] = asked(tmp_path, "/", pages=pages, headers=[("if-none-match", index.headers["etag"])])

    assert (index.text, index.headers["content-type"]) == ("<!doctype html>one", "text/html; charset=utf-8")
    assert script.headers["content-type"] == "text/javascript; charset=utf-8"
    assert index.headers["cache-control"] == "no-cache"
    assert (same.status_code, same.content) == (304, b"")
    assert (changed.status_code, changed.text) == (200, "<!doctype html>two")


def test_the_pages_of_the_package_are_served_and_ask_nobody_else():
    pages = Pages()

    index = pages.find("")

    assert index is not None
    assert b"http://" not in index.content.replace(b"http://www.w3.org", b"")
    assert b"https://" not in index.content


def test_its_own_health_and_metrics(tmp_path):
    health, metrics = asked(tmp_path, "/healthz", "/metrics")

    assert (health.status_code, health.json()["alive"]) == (200, True)
    assert metrics.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert 'weir_incidents_open{kind="feature_drift",severity="alarm"} 0.0' in metrics.text


def test_the_openapi_document_is_the_one_that_is_served_and_is_up_to_date(tmp_path):
    [served] = asked(tmp_path, "/api/v1/schema")

    assert served.content == openapi.generated()
    assert DOCUMENT.read_bytes() == openapi.generated(), "stale: python -m service.web.openapi > docs/openapi.json"


def test_every_address_of_the_document_exists_and_every_reference_of_it_resolves():
    document = json.loads(DOCUMENT.read_bytes())
    references = [line.split('"')[3] for line in DOCUMENT.read_text().splitlines() if '"$ref"' in line]

    assert {name.rpartition("/")[2] for name in references} <= document["components"]["schemas"].keys()
    assert sorted(document["paths"]) == [
        "/api/v1/drift", "/api/v1/drift/{feature}", "/api/v1/events", "/api/v1/live", "/api/v1/models", "/api/v1/models/{model}",
        "/api/v1/quality", "/api/v1/status", "/api/v1/transactions/{transaction_id}",
    ]  # fmt: skip
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("bind", ["0.0.0.0", "::", "192.168.1.5", "example.com", ""])
def test_any_bind_but_loopback_is_refused_with_the_reason(bind):
    with pytest.raises(ConfigError, match=r"no users and passwords yet.*ssh -L"):
        require_loopback(bind)


@pytest.mark.parametrize("bind", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_loopback_is_accepted(bind):
    require_loopback(bind)


def test_a_model_is_shown_with_the_thresholds_in_force(tmp_path):
    registry, champion = registry_of(tmp_path)
    live = LivePolicy({Tier.FULL: Thresholds(0.4, 0.99)}, champion)
    registry.set_policy(PolicyStore(tmp_path / "registry").write(live, KEY))
    default = trained().manifest.policy

    [found] = asked(tmp_path, f"/api/v1/models/{champion}")

    answer = found.json()
    assert answer["thresholds"]["full"] == {"review": 0.4, "decline": 0.99}
    assert answer["thresholds"]["small"]["review"] == default.thresholds[Tier.SMALL].review
    assert answer["policy"] == effective(default, live, champion).version


def test_a_broken_bundle_beside_a_champion_is_told(tmp_path):
    registry, champion = registry_of(tmp_path)
    write_bundle(tmp_path / "other", msgspec.structs.replace(trained().manifest, name="other"), trained().files, KEY)
    second = registry.register(tmp_path / "other")
    (registry.resolve(second) / "manifest.json").write_bytes(b"{")

    [answer] = asked(tmp_path, "/api/v1/models")

    assert answer.json()["state"] == "attention"
    assert f"{second} in the registry" in answer.json()["sentence"]
    assert [row["model"] for row in answer.json()["models"]] == [champion]


def test_a_broken_registry_is_a_sentence(tmp_path):
    registry_of(tmp_path)
    [manifest] = (tmp_path / "registry").glob("bundles/*/manifest.json")
    manifest.write_bytes(b"{")

    models, one = asked(tmp_path, "/api/v1/models", "/api/v1/models/champion")

    assert models.json()["state"] == "attention"
    assert "cannot be read" in models.json()["sentence"]
    assert one.status_code == 404
    assert msgspec.json.decode(one.content)["sentence"]
