"""The registry: content-addressed bundles, aliases swapped whole, a history that only grows."""

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from domain.errors import BundleRejected, ModelError, NoChampion
from models.bundle import write_bundle
from models.registry import Registry
from tests.unit.models_synthetic import trained
from tests.unit.registry_places import PLACES, SHARED, place_of


def bundle(folder: Path, name: str = "weir") -> Path:
    """A signed bundle; another name is another version."""
    write_bundle(folder, msgspec.structs.replace(trained().manifest, name=name), trained().files, b"key")
    return folder


@pytest.fixture(params=PLACES)
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> Registry:
    return Registry(place_of(request.param, tmp_path), clock_ms=lambda: 5)


def test_an_empty_registry_has_no_champion(registry: Registry):
    with pytest.raises(NoChampion, match="weir train HISTORY"):
        registry.resolve("champion")


def test_the_first_model_becomes_champion_and_the_second_waits(registry: Registry, tmp_path: Path):
    first = registry.register(bundle(tmp_path / "a"))
    second = registry.register(bundle(tmp_path / "b", "other"))

    assert registry.reference("champion") == first
    assert [(entry.reference, entry.aliases) for entry in registry.entries()] == [(first, ("champion",)), (second, ())]


def test_promotion_keeps_the_old_champion_as_previous_and_can_be_undone(registry: Registry, tmp_path: Path):
    first = registry.register(bundle(tmp_path / "a"))
    second = registry.register(bundle(tmp_path / "b", "other"))

    registry.promote(second)
    assert registry.aliases() == {"champion": second, "previous": first}

    registry.promote("previous")
    assert registry.aliases() == {"champion": first, "previous": second}
    assert [(event.event, event.model) for event in registry.history()] == [
        ("registered", first),
        ("registered", second),
        ("promoted", second),
        ("promoted", first),
    ]


def test_the_same_bundle_is_registered_once(registry: Registry, tmp_path: Path):
    assert registry.register(bundle(tmp_path / "a")) == registry.register(bundle(tmp_path / "b"))

    assert len(registry.entries()) == len(registry.history()) == 1


def test_a_promotion_that_saw_another_champion_is_refused(registry: Registry, tmp_path: Path):
    first = registry.register(bundle(tmp_path / "a"))
    second = registry.register(bundle(tmp_path / "b", "other"))
    seen = registry.state()
    registry.promote(second, expected=seen)

    with pytest.raises(ModelError, match="somebody else changed"):
        registry.promote(first, expected=seen)


def test_a_model_is_found_by_the_beginning_of_its_version(registry: Registry, tmp_path: Path):
    reference = registry.register(bundle(tmp_path / "a"))

    assert registry.reference(reference.partition("@")[2][:5]) == reference


@pytest.mark.parametrize("unknown", ["nothing@000000000000", "", "previous", "../../etc"])
def test_an_unknown_model_is_refused(registry: Registry, tmp_path: Path, unknown: str):
    registry.register(bundle(tmp_path / "a"))

    with pytest.raises(ModelError, match="weir models list"):
        registry.resolve(unknown)


def test_a_line_cut_short_by_a_crash_changes_nothing_and_the_next_one_is_whole(tmp_path: Path):
    registry = Registry(tmp_path / "registry")
    first = registry.register(bundle(tmp_path / "a"))
    second = registry.register(bundle(tmp_path / "b", "other"))
    history = tmp_path / "registry" / "history.jsonl"
    with history.open("ab") as file:
        file.write(b'{"time_ms":9,"event":"promoted","mod')

    assert registry.reference("champion") == first
    registry.promote(second)
    assert registry.reference("champion") == second
    assert len(registry.history()) == 3


def test_a_folder_without_a_manifest_is_not_a_bundle(registry: Registry, tmp_path: Path):
    with pytest.raises(BundleRejected, match=r"manifest\.json"):
        registry.register(tmp_path)


@pytest.mark.parametrize("kind", SHARED)
def test_promotions_at_the_same_time_are_all_in_the_history(kind: str, tmp_path: Path):
    registry = Registry(place_of(kind, tmp_path))
    first = registry.register(bundle(tmp_path / "a"))
    second = registry.register(bundle(tmp_path / "b", "other"))
    program = (
        "import sys; from pathlib import Path; from models.registry import Registry\n"
        "from tests.unit.registry_places import place_of\n"
        "registry = Registry(place_of(sys.argv[1], Path(sys.argv[2])))\n"
        "for _ in range(20): registry.promote(sys.argv[3]); registry.promote(sys.argv[4])"
    )
    running = [subprocess.Popen([sys.executable, "-c", program, kind, str(tmp_path), *pair]) for pair in ((first, second), (second, first))]

    assert [process.wait(60) for process in running] == [0, 0]
    champions = [event.aliases["champion"] for event in registry.history()[2:]]
    assert all(one != other for one, other in zip([first, *champions], champions, strict=False))
    assert set(registry.aliases()) == {"champion", "previous"}
