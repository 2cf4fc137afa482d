"""Bundles of a registry in a store: whole or not there, fetched once."""

import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from domain.errors import BundleRejected, StoreUnavailable
from models.bundle import FILES, load_bundle
from models.manifest import MANIFEST, SIGNATURE
from models.registry import Registry
from models.store import Store
from tests.unit.registry_places import ExclusiveFiles
from tests.unit.registry_samples import HOUR_MS, KEY, Clock, bundle_of, elsewhere
from tests.unit.test_model_watch import SPEC


def test_a_bundle_is_fetched_once_and_loads_as_it_was_registered(registry: Registry, files: ExclusiveFiles, tmp_path: Path):
    model = registry.register(bundle_of(tmp_path / "one"))
    other = elsewhere(tmp_path)

    folder = other.resolve("champion")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        path.name: path.read_bytes() for path in (tmp_path / "one").iterdir()
    }
    scorer = load_bundle(folder, KEY, SPEC)
    assert f"{scorer.name}@{scorer.version}" == model
    shutil.rmtree(tmp_path / "store" / "bundles")
    assert other.resolve("champion") == folder


def test_a_fetch_cut_short_leaves_nothing_and_the_next_one_is_whole(registry: Registry, tmp_path: Path):
    registry.register(bundle_of(tmp_path / "one"))
    other = elsewhere(tmp_path)
    files, cache = other._root._system, tmp_path / "another cache" / "bundles"
    n_cut = 0
    for n_answered in range(100):
        files.n_answered = n_answered
        try:
            folder = other.resolve("champion")
            break
        except StoreUnavailable:
            n_cut += 1
            assert not cache.exists() or list(cache.iterdir()) == []

    assert n_cut > len(FILES)
    assert load_bundle(folder, KEY, SPEC)


def halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("name", [*FILES, MANIFEST, SIGNATURE])
@pytest.mark.parametrize("harm", [Path.unlink, halve])
def test_a_half_copied_bundle_is_refused_and_fetched_again(registry: Registry, tmp_path: Path, name: str, harm: Callable[[Path], None]):
    model = registry.register(bundle_of(tmp_path / "one"))
    other, path = elsewhere(tmp_path), tmp_path / "store" / "bundles" / model / name
    harm(path)

    if name == SIGNATURE and harm is halve:
        with pytest.raises(BundleRejected, match="signature"):
            load_bundle(other.resolve(model), KEY, SPEC)
        return
    with pytest.raises(BundleRejected, match=model):
        other.resolve(model)
    shutil.copyfile(tmp_path / "one" / name, path)
    assert load_bundle(other.resolve(model), KEY, SPEC)


def test_a_bundle_that_names_a_file_outside_itself_writes_none(registry: Registry, store: Store, tmp_path: Path):
    made = bundle_of(tmp_path / "one")
    manifest = json.loads((made / MANIFEST).read_bytes())
    manifest["files"]["../../escaped"] = manifest["files"]["card.md"]
    (made / MANIFEST).write_text(json.dumps(manifest))
    model = registry.register(made)
    store.write(f"bundles/{model}/../../escaped", (made / "card.md").read_bytes())

    with pytest.raises(BundleRejected, match="outside itself"):
        elsewhere(tmp_path).resolve(model)
    assert not (tmp_path / "another cache" / "bundles").exists() or not list((tmp_path / "another cache").rglob("escaped"))


def test_machines_and_threads_that_fetch_at_the_same_time_have_one_whole_bundle(registry: Registry, tmp_path: Path):
    registry.register(bundle_of(tmp_path / "one"))
    others = [elsewhere(tmp_path) for _ in range(8)]

    with ThreadPoolExecutor(8) as pool:
        (folder,) = set(pool.map(lambda other: other.resolve("champion"), others))
    assert load_bundle(folder, KEY, SPEC)
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_an_upload_cut_short_is_no_model_and_registering_again_completes_it(registry: Registry, files: ExclusiveFiles, tmp_path: Path):
    made, n_cut = bundle_of(tmp_path / "one"), 0
    for n_answered in range(100):
        files.n_answered = n_answered
        try:
            model = registry.register(made)
            break
        except StoreUnavailable:
            n_cut += 1
            assert elsewhere(tmp_path).names() == []

    assert n_cut > len(FILES)
    files.n_answered = None
    assert [event.event for event in registry.history()] == ["registered"]
    assert load_bundle(elsewhere(tmp_path).resolve(model), KEY, SPEC)


def test_the_local_folder_keeps_the_bundles_used_last(registry: Registry, tmp_path: Path):
    models = [registry.register(bundle_of(tmp_path / f"m{number}", f"m{number}")) for number in range(10)]
    for model in models:
        registry.resolve(model)
    kept = [path.name for path in registry.resolve(models[-1]).parent.iterdir()]

    assert len(kept) == 8
    assert models[-1] in kept
    assert registry.resolve(models[0]).exists()


def test_what_was_collected_never_meets_what_is_registered_again(store: Store, tmp_path: Path):
    clock = Clock()
    registry, bundles = Registry(store, clock_ms=clock), tmp_path / "store" / "bundles"
    _, two = (registry.register(bundle_of(tmp_path / name, name)) for name in ("one", "two"))
    clock.now_ms += 48 * HOUR_MS
    sweep, registry._bundles.sweep = registry._bundles.sweep, lambda: None  # a crash before the end of the collection
    assert registry.collect(0) == [two]
    assert (bundles / two).exists()

    assert elsewhere(tmp_path).register(tmp_path / "two") == two
    sweep()

    assert sorted(path.name for path in bundles.iterdir() if list(path.iterdir()))[1:] == [f"{two}~1"]
    assert load_bundle(elsewhere(tmp_path).resolve(two), KEY, SPEC)
