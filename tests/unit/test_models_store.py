"""A registry in a store: exclusive creation, bundles that are whole or not there, and what happens when the store is away."""

import errno
import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from domain.errors import BundleRejected, ConfigError, StoreUnavailable
from models.bundle import FILES, load_bundle
from models.gate import Check, Verdict, read_verdict, write_verdict
from models.manifest import MANIFEST, SIGNATURE
from models.policy import LivePolicy
from models.policy_store import PolicyStore
from models.registry import Registry
from models.registry_history import Rollout
from models.store import Store, open_store
from service.rollout_record import begun, read_trials, write_trial
from service.settings import load
from service.wiring import registry_of, signing_key_of, verifying_key_of
from tests.unit.registry_places import STORES, ExclusiveFiles, place_of
from tests.unit.registry_samples import HOUR_MS, KEY, Clock, Installation, bundle_of
from tests.unit.test_model_watch import SPEC


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return place_of("exclusive", tmp_path)


@pytest.fixture
def files(store: Store) -> ExclusiveFiles:
    return store._system


@pytest.fixture
def registry(store: Store) -> Registry:
    return Registry(store)


def elsewhere(folder: Path) -> Registry:
    """The same registry as another machine has it: nothing is known or fetched yet."""
    store = place_of("exclusive", folder)
    store.cache = folder / "another cache"
    return Registry(store)


# --- the store -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", STORES)
def test_files_are_written_replaced_listed_and_deleted(kind: str, tmp_path: Path):
    store = place_of(kind, tmp_path)
    for name in ("b", "a", "c/d"):
        store.write(name, name.encode())
    store.write("a", b"new")

    assert store.names() == ["a", "b", "c"]
    assert store.within("c").names() == ["d"]
    assert store.names("nothing") == []
    assert store.read_all(["b", "a"]) == {"b": b"b", "a": b"new"}
    store.delete("c")
    assert store.names("c") == []
    with pytest.raises(FileNotFoundError):
        store.read("c/d")


def test_of_many_creators_of_one_name_one_wins(store: Store):
    with ThreadPoolExecutor(16) as pool:
        for name in map(str, range(20)):
            won = list(pool.map(lambda number, name=name: store.create(name, b"%d" % number), range(16)))

            assert sum(won) == 1
            assert store.read(name) == b"%d" % won.index(True)


@pytest.mark.parametrize(
    "answer",
    [FileExistsError(), OSError(errno.EINVAL, "At least one of the pre-conditions you specified did not hold"), RuntimeError("timed out")],
    ids=["exists", "412", "lost"],
)
def test_after_an_answer_that_was_lost_the_file_says_whose_it_is(store: Store, files: ExclusiveFiles, monkeypatch, answer: Exception):
    store.create("first", b"x")
    put = files.pipe_file

    def put_and_lose_the_answer(*args, **kwargs):
        put(*args, **kwargs)
        raise answer

    monkeypatch.setattr(files, "pipe_file", put_and_lose_the_answer)

    assert store.create("a", b"mine") is True
    assert store.create("first", b"mine") is False


def test_a_creation_that_is_sent_away_is_tried_again(store: Store, files: ExclusiveFiles, monkeypatch):
    store.create("first", b"x")
    put, n_sent_away = files.pipe_file, 0

    def send_away_twice(*args, **kwargs):
        nonlocal n_sent_away
        n_sent_away += 1
        if n_sent_away < 3:
            raise OSError(errno.EIO, "a conflicting conditional operation is currently in progress against this resource")
        put(*args, **kwargs)

    monkeypatch.setattr(files, "pipe_file", send_away_twice)

    assert store.create("a", b"mine") is True
    assert store.read("a") == b"mine"


def test_a_store_that_replaces_what_it_should_create_holds_no_registry(files: ExclusiveFiles, registry: Registry, monkeypatch, tmp_path):
    put = files.pipe_file
    monkeypatch.setattr(files, "pipe_file", lambda path, value, mode="": put(path, value))

    with pytest.raises(ConfigError, match="cannot hold a registry"):
        registry.register(bundle_of(tmp_path / "one"))
    assert registry.history() == []


def test_what_cannot_be_done_now_is_one_sentence_and_no_empty_registry(store: Store, files: ExclusiveFiles):
    files.n_answered = 0

    for use in (lambda: store.read("a"), lambda: store.write("a", b""), lambda: store.create("a", b""), store.names, Registry(store).state):
        with pytest.raises(StoreUnavailable, match=r"cannot be used now: no route to the store$") as found:
            use()
        assert isinstance(found.value, OSError)
        assert found.value.strerror == str(found.value)


def test_writing_to_a_bucket_that_is_not_there_says_so(store: Store, files: ExclusiveFiles, monkeypatch):
    def no_bucket(*_args, **_kwargs):
        raise FileNotFoundError("the specified bucket does not exist")

    monkeypatch.setattr(files, "pipe_file", no_bucket)

    with pytest.raises(StoreUnavailable, match="bucket does not exist"):
        store.write("a", b"")


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("ftp://host/models", "s3://, s3a://, gs://"),
        ("s3://", "a bucket"),
        ("simplecache::s3://bucket/models", "a bucket"),
        ("s3://me:hunter2@bucket/models", r"me:\*\*\*@bucket"),
        ("s3://bucket/models?token=hunter2", "options"),
        *([] if "s3" in STORES else [("s3://bucket/models", r"pip install .* requirements/s3\.txt")]),
        ("gs://bucket/models", r"pip install .* requirements/gcs\.txt"),
        ("abfs://box@account.dfs.core.windows.net/models", r"pip install .* requirements/abfs\.txt"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_without_its_secrets(url: str, sentence: str):
    found = load(None, {"WEIR_MODEL_REGISTRY": url})

    with pytest.raises(ConfigError, match=sentence) as refused:
        registry_of(found.settings)
    assert "hunter2" not in str(refused.value)
    assert "hunter2" not in str(found.entries())


def test_a_file_url_is_a_folder(tmp_path: Path):
    settings = load(None, {"WEIR_MODEL_REGISTRY": f"file://{tmp_path}/registry"}).settings
    model = registry_of(settings).register(bundle_of(tmp_path / "one"))

    assert (tmp_path / "registry" / "bundles" / model / MANIFEST).exists()


def test_no_key_is_made_for_a_store():
    settings = load(None, {"WEIR_MODEL_REGISTRY": "memory://anywhere"}).settings

    for key_of in (signing_key_of, verifying_key_of):
        with pytest.raises(ConfigError, match=r"set model\.signing_key"):
            key_of(settings)


# --- the history -----------------------------------------------------------------------------------------------------


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


# --- bundles ---------------------------------------------------------------------------------------------------------


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


# --- all together ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", STORES)
def test_verdicts_and_policies_lie_in_the_store(kind: str, tmp_path: Path):
    root = place_of(kind, tmp_path)
    registry, policies = Registry(root), PolicyStore(root)
    model = registry.register(bundle_of(tmp_path / "one"))
    verdict = Verdict.of(model, "", [Check("parity", "passed", "equal")], made_ms=0, history="h")

    assert read_verdict(registry.beside(model)) is None
    write_verdict(registry.beside(model), verdict)
    assert read_verdict(registry.beside(model)) == verdict
    assert policies.read(policies.write(LivePolicy(), KEY), KEY) == LivePolicy()


def test_a_store_that_is_away_says_nothing_about_what_lies_in_it(registry: Registry, store: Store, files: ExclusiveFiles, tmp_path: Path):
    policies, beside = PolicyStore(store), registry.beside(registry.register(bundle_of(tmp_path / "one")))
    version = policies.write(LivePolicy(), KEY)
    write_trial(beside, begun("one@1", Rollout("shadow", "two@2", 0.0, 5), 5))
    uses = (lambda: policies.read(version, KEY), lambda: read_verdict(beside), lambda: read_trials(beside))
    for use in uses:
        use()

    for use in uses:
        for n_answered in (0, 1) if use is uses[2] else (0,):
            files.n_answered = n_answered
            with pytest.raises(StoreUnavailable):
                use()


def test_the_command_line_works_on_a_store_as_on_a_folder(tmp_path: Path):
    at = Installation(tmp_path, root=open_store(f"memory://{tmp_path.name}", tmp_path / "cache"))
    one, two = at.add("one"), at.add("two")

    assert at.run("models", "promote", two, "--who", "ann").exit_code == 0
    listed = json.loads(at.run("models", "list", "--json").stdout)
    assert {entry["model"]: entry["aliases"] for entry in listed} == {one: ["previous"], two: ["champion"]}
    assert at.run("models", "verify").exit_code == 0
    assert at.run("policy", "set", "--default").exit_code == 0
    assert at.run("models", "rollback").exit_code == 0
    assert at.registry.reference("champion") == one
    assert at.registry.history()[2].who == "ann"
