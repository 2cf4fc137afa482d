"""A registry in a store: exclusive creation, whatever the store answers, and what happens when it is away."""

import errno
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from domain.errors import ConfigError, StoreUnavailable
from models.gate import Check, Verdict, read_verdict, write_verdict
from models.manifest import MANIFEST
from models.policy import LivePolicy
from models.policy_store import PolicyStore
from models.registry import Registry
from models.registry_history import Rollout
from models.store import Store, open_store
from service.rollout_record import begun, read_trials, write_trial
from service.settings import load
from service.wiring import registry_of, signing_key_of, verifying_key_of
from tests.unit.registry_places import STORES, ExclusiveFiles, place_of
from tests.unit.registry_samples import KEY, Installation, bundle_of


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
