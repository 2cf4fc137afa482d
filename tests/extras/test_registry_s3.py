"""A registry in a store over the S3 protocol: what only the real client shows. Run by `make stores`, with the registry's laws."""

import socket
from pathlib import Path

import pytest

from domain.errors import StoreUnavailable
from models.registry import Registry
from models.store import open_store
from service.settings import load
from service.wiring import load_champion
from tests import s3_server
from tests.unit.registry_places import SHARED, STORES, place_of
from tests.unit.registry_samples import KEY, bundle_of

pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(place_of("s3", tmp_path))


def test_the_laws_of_the_registry_are_tested_over_s3_too():
    assert "s3" in STORES
    assert "s3" in SHARED


def test_a_look_at_a_registry_that_did_not_change_is_one_request_and_no_list(registry: Registry, tmp_path: Path):
    registry.register(bundle_of(tmp_path / "one"))
    registry.stamp()
    s3_server.requests.clear()

    registry.stamp()
    assert [request.partition(" ")[0] for request in s3_server.requests] == ["GET"]
    assert s3_server.requests[0].endswith("history/000000002.json")


def test_a_worker_s_settings_reach_the_champion(registry: Registry, tmp_path: Path):
    model = registry.register(bundle_of(tmp_path / "one"))
    settings = load(
        None, {"WEIR_MODEL_REGISTRY": str(registry), "WEIR_MODEL_SIGNING_KEY": KEY.decode(), "WEIR_MODEL_CACHE": str(tmp_path / "another")}
    ).settings

    scorer = load_champion(settings)
    assert f"{scorer.name}@{scorer.version}" == model
    assert [path.name for path in (tmp_path / "another").glob("*/bundles/*")] == [model]


def test_a_bucket_that_is_not_there_is_told_when_it_is_written_to(registry: Registry, tmp_path: Path):
    assert registry.names() == []  # the server runs

    with pytest.raises(StoreUnavailable, match="bucket does not exist"):
        Registry(open_store("s3://nobodys/weir", tmp_path / "cache")).register(bundle_of(tmp_path / "one"))


def test_a_server_that_is_away_or_refuses_is_one_sentence(registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{unused.getsockname()[1]}")
        store = open_store("s3://weir/away", tmp_path / "cache")
        store._system = type(store._system)(use_listings_cache=False, skip_instance_cache=True)

        with pytest.raises(
            StoreUnavailable, match=r"the registry's store s3://weir/away cannot be used now: (Could not connect|no answer in time)"
        ):
            Registry(store).stamp()
