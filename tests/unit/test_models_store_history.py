"""The history of a registry in a store: every machine sees each event once, as it was written."""

from pathlib import Path

from models.registry import Registry
from models.store import Store
from tests.unit.registry_places import ExclusiveFiles
from tests.unit.registry_samples import bundle_of, elsewhere


def test_a_look_at_a_registry_that_did_not_change_is_one_request(registry: Registry, files: ExclusiveFiles, tmp_path: Path):
    registry.register(bundle_of(tmp_path / "one"))
    registry.stamp()
    n_before = files.n_requests

    registry.stamp()
    assert files.n_requests == n_before + 1
    registry.state()
    assert files.n_requests == n_before + 2


def test_another_machine_sees_every_event_as_it_was_written(registry: Registry, tmp_path: Path):
    _, two = (registry.register(bundle_of(tmp_path / name, name)) for name in ("one", "two"))
    other = elsewhere(tmp_path)
    assert other.stamp() == (2,)
    registry.promote(two, who="ann", why="better")

    assert other.state() == registry.state()
    assert other.history() == registry.history()
    assert other.history()[-1].who == "ann"
    assert other.stamp() == (3,)


def test_what_is_no_event_counts_as_a_place_in_the_history_only(registry: Registry, store: Store, tmp_path: Path):
    one = registry.register(bundle_of(tmp_path / "one", "one"))
    store.write("history/000000002.json", b"{")
    store.write("history/notes.txt", b"")
    two = elsewhere(tmp_path).register(bundle_of(tmp_path / "two", "two"))

    for found in (registry, elsewhere(tmp_path)):
        assert [event.model for event in found.history()] == [one, two]
        assert found.stamp() == (3,)
    (tmp_path / "store" / "history" / "000000001.json").unlink()
    assert [event.model for event in elsewhere(tmp_path).history()] == [two]


def test_whoever_was_overtaken_looks_again(registry: Registry, tmp_path: Path, monkeypatch):
    _, two, three = (registry.register(bundle_of(tmp_path / name, name)) for name in ("one", "two", "three"))
    overtake = [lambda: elsewhere(tmp_path).promote(two), lambda: elsewhere(tmp_path).set_policy("0badcafe")]
    reference = registry._reference

    def and_be_overtaken(*args):
        found = reference(*args)
        if overtake:
            overtake.pop(0)()
        return found

    monkeypatch.setattr(registry, "_reference", and_be_overtaken)
    registry.promote(three)

    assert registry.aliases() == {"champion": three, "previous": two}
    assert registry.state().policy == "0badcafe"
    assert [event.event for event in registry.history()[3:]] == ["promoted", "policy", "promoted"]
