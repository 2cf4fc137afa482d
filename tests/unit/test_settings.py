"""Settings: where a value comes from, what is refused, what is never shown."""

import asyncio
import tomllib
from pathlib import Path

import click
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import ConfigError
from features.spec import FeatureSettings, fingerprint
from service.context import settings_of
from service.settings import Settings, environment_name, load, names, with_addresses, without_password
from service.wiring import kafka_connection, keys_of, load_champion, rates_of, redis_client, require_redis

SECRETS = ("kafka.sasl_password", "redis.password", "model.signing_key")


@pytest.fixture(autouse=True)
def nowhere(tmp_path, monkeypatch):
    """A working directory without a settings file."""
    monkeypatch.chdir(tmp_path)


def file(text: str, name: str = "some.toml") -> Path:
    path = Path(name)
    path.write_text(text, "utf-8")
    return path


def entry(loaded, name: str):
    return next(e for e in loaded.entries() if e.name == name)


def refusal(config: Path | None = None, environ=None) -> str:
    with pytest.raises(ConfigError) as caught:
        load(config, environ or {})
    return str(caught.value)


def test_without_file_and_environment_everything_is_a_default():
    loaded = load(None, {})

    assert loaded.settings == Settings()
    assert {e.source for e in loaded.entries()} == {"default"}


def test_the_environment_wins_over_the_file_and_the_file_over_the_default():
    path = file('[kafka]\nbootstrap = "file:1"\nprefix = "p."\n')

    loaded = load(path, {"WEIR_KAFKA_BOOTSTRAP": "environment:2", "HOME": "/", "PATH": ""})

    found = {e.name: (e.value, e.source) for e in loaded.entries()}
    assert found["kafka.bootstrap"] == ("environment:2", "WEIR_KAFKA_BOOTSTRAP")
    assert found["kafka.prefix"] == ("p.", "some.toml")
    assert found["kafka.group"] == ("weir", "default")


def test_the_file_is_the_named_one_then_that_of_the_environment_then_the_one_here():
    for name in ("named.toml", "environment.toml", "weir.toml"):
        file(f'[kafka]\nprefix = "{name}"\n', name)
    environ = {"WEIR_CONFIG": "environment.toml"}

    found = [load(Path("named.toml"), environ), load(None, environ), load(None, {}), load(None, {"WEIR_CONFIG": ""})]

    assert [loaded.settings.kafka.prefix for loaded in found] == ["named.toml", "environment.toml", "weir.toml", "weir.toml"]


def test_embedded_addresses_fill_only_what_is_set_nowhere():
    loaded = load(None, {"WEIR_REDIS_URL": "redis://mine"})

    found = with_addresses(loaded, bootstrap="here:1", redis_url="redis://here")

    assert (found.settings.kafka.bootstrap, found.settings.redis.url) == ("here:1", "redis://mine")
    assert (found.sources["kafka.bootstrap"], found.sources["redis.url"]) == ("embedded", "WEIR_REDIS_URL")
    assert loaded.settings.kafka.bootstrap == ""


@pytest.mark.parametrize("name", names())
def test_every_setting_can_be_set_by_its_variable_and_says_what_it_means(name):
    section, key = name.split(".")
    value = getattr(getattr(Settings(), section), key)

    loaded = load(None, {environment_name(name): str(value)})

    assert getattr(getattr(loaded.settings, section), key) == value
    assert entry(loaded, name).source == environment_name(name)
    assert len(entry(loaded, name).meaning) > 5


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_can_stand_in_a_file_of_its_own_and_is_never_shown(name):
    file("hunter2\n", "secret")
    variable = environment_name(name) + "_FILE"

    loaded = load(None, {variable: "secret"})

    section, key = name.split(".")
    assert getattr(getattr(loaded.settings, section), key) == "hunter2"
    assert entry(loaded, name)[1:3] == ("***", variable)
    assert "hunter2" not in str(loaded.entries())
    assert entry(load(None, {}), name).value == ""


def test_a_secret_in_two_places_or_an_unreadable_one_is_refused():
    Path("binary").write_bytes(b"\xff\xfe")

    assert "both set" in refusal(environ={"WEIR_REDIS_PASSWORD": "a", "WEIR_REDIS_PASSWORD_FILE": "b"})
    assert refusal(environ={"WEIR_REDIS_PASSWORD_FILE": "missing"}).startswith("WEIR_REDIS_PASSWORD_FILE: cannot read missing")
    assert refusal(environ={"WEIR_REDIS_PASSWORD_FILE": "binary"}) == "WEIR_REDIS_PASSWORD_FILE: binary is not text in UTF-8"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:hunter2@h:1/0", "redis://:***@h:1/0"),
        ("rediss://user:hunter2@h", "rediss://user:***@h"),
        ("redis://:hunt@er2@h", "redis://:***@h"),
        ("redis://h/0?password=hunter2&db=1", "redis://h/0?password=***&db=1"),
        ("redis://h?db=1&password=hunter2", "redis://h?db=1&password=***"),
        ("redis://user@h", "redis://user@h"),
        ("redis://h:1/0", "redis://h:1/0"),
        ("", ""),
    ],
)
def test_the_password_in_an_address_is_never_shown(url, shown):
    assert without_password(url) == shown
    assert entry(load(None, {"WEIR_REDIS_URL": url}), "redis.url").value == shown


@pytest.mark.parametrize(
    ("variable", "value", "rule"),
    [
        ("WEIR_SCORING_CHUNK_SIZE", "0", ">= 1"),
        ("WEIR_SCORING_CHUNK_SIZE", "many", "int"),
        ("WEIR_SCORING_REASONS_BUDGET_MS", "inf", "<= 60000"),
        ("WEIR_FEATURES_BASE_CURRENCY", "eur", "[A-Z]{3}"),
        ("WEIR_FEATURES_BASE_CURRENCY", "EUR\n", "<= 3"),
        ("WEIR_FEATURES_MATURITY_DAYS", "41", "<= 40"),
        ("WEIR_FEATURES_VECTOR_SHARE", "1.01", "<= 1"),
        ("WEIR_FEATURES_VECTOR_SHARE", "nan", ">= 0"),
        ("WEIR_FEATURES_INDEX_DAYS", "0", ">= 1"),
        ("WEIR_KAFKA_PREFIX", "a b", "regex"),
        ("WEIR_KAFKA_PREFIX", "a\n", "regex"),
        ("WEIR_KAFKA_GROUP", "", "length >= 1"),
        ("WEIR_KAFKA_SECURITY_PROTOCOL", "TLS", "one of PLAINTEXT, SASL_PLAINTEXT, SASL_SSL, SSL"),
        ("WEIR_REDIS_PREFIX", "a{b}", "regex"),
        ("WEIR_REDIS_TIMEOUT_MS", "9", ">= 10"),
        ("WEIR_POLICY_ALERT_RATE", "0", "> 0"),
        ("WEIR_POLICY_ALERT_RATE", "0.21", "<= 0.2"),
        ("WEIR_MONITORING_PORT", "65536", "<= 65535"),
        ("WEIR_EMBEDDED_RETENTION_BYTES", "1", ">= 67108864"),
    ],
)
def test_a_value_out_of_range_is_named_with_its_range_its_value_and_its_source(variable, value, rule):
    name = next(n for n in names() if environment_name(n) == variable)
    message = refusal(environ={variable: value})

    assert message.startswith(f"{name}: ")
    assert f"(from {variable})" in message
    assert repr(value) in message
    for part in rule.split(", "):
        assert part in message


def test_a_wrong_type_in_the_file_is_named_with_the_file():
    message = refusal(file("[scoring]\nchunk_size = [1]\n"))

    assert message.startswith("scoring.chunk_size: ")
    assert "[1] (from some.toml)" in message


@pytest.mark.parametrize("text", ["[kafka]\nsasl_password = 123\n", '[redis]\nurl = ["redis://:123@h"]\n'])
def test_a_wrong_secret_is_not_shown_by_its_refusal(text):
    message = refusal(file(text))

    assert "123" not in message
    assert "***" in message


def test_unknown_names_are_refused_with_where_they_stand():
    assert refusal(environ={"WEIR_KAFKA_BOOTSTRAPS": "x"}).startswith("unknown setting WEIR_KAFKA_BOOTSTRAPS")
    assert refusal(environ={"WEIR_KAFKA_BOOTSTRAP_FILE": "x"}).startswith("unknown setting WEIR_KAFKA_BOOTSTRAP_FILE")
    assert refusal(file("[kafka]\nbootstraps = 'x'\n")).startswith("unknown setting kafka.bootstraps in some.toml")
    assert refusal(file("[kafak]\nbootstrap = 'x'\n")).startswith("unknown setting kafak.bootstrap in some.toml")
    assert "kafak" in refusal(file("[kafak]\n"))
    assert "some.toml" in refusal(file("bootstrap = 'x'\n"))


@pytest.mark.parametrize("content", [b"[kafka", b"\xff\xfe", b"x = "])
def test_a_file_that_is_no_toml_is_named(content):
    Path("broken.toml").write_bytes(content)

    assert refusal(Path("broken.toml")).startswith("broken.toml is not TOML")


def test_a_missing_file_is_named():
    assert refusal(Path("missing.toml")).startswith("cannot read the settings file missing.toml")


def test_settings_cannot_be_changed_once_they_are_built():
    with pytest.raises(AttributeError):
        load(None, {}).settings.kafka.prefix = "x"


def test_the_definition_of_the_features_is_what_the_fingerprint_covers():
    settings = load(
        None, {"WEIR_FEATURES_MATURITY_DAYS": "9", "WEIR_FEATURES_VECTOR_SHARE": "0.5", "WEIR_FEATURES_INDEX_DAYS": "9"}
    ).settings

    assert settings.features.definition() == FeatureSettings(maturity_days=9)
    assert keys_of(settings).state(0, "c") == keys_of(load(None, {"WEIR_FEATURES_MATURITY_DAYS": "9"}).settings).state(0, "c")
    assert len({fingerprint(FeatureSettings(**changes)) for changes in (
        {}, {"base_currency": "USD"}, {"time_zone": "Europe/Paris"}, {"maturity_days": 8})}) == 4  # fmt: skip


def test_a_command_gets_the_settings_of_its_option(monkeypatch):
    for name in [n for n in __import__("os").environ if n.startswith("WEIR_")]:
        monkeypatch.delenv(name)
    root = click.Context(click.Command("weir"), obj={"config": str(file('[kafka]\nprefix = "x."\n'))})

    found = settings_of(click.Context(click.Command("tail"), parent=root))

    assert found.settings.kafka.prefix == "x."
    assert found.settings.redis.url == ""


def test_objects_are_built_from_the_settings():
    settings = load(None, {"WEIR_KAFKA_PREFIX": "p.", "WEIR_REDIS_PREFIX": "q:", "WEIR_FEATURES_BASE_CURRENCY": "USD"}).settings

    assert kafka_connection(settings).prefix == "p."
    assert keys_of(settings).sources.startswith(b"q:")
    assert rates_of(settings).base_currency == "USD"


def test_redis_without_an_address_or_with_a_wrong_one_says_what_to_do():
    with pytest.raises(ConfigError, match="weir up"):
        redis_client(Settings())
    with pytest.raises(ConfigError) as caught:
        redis_client(load(None, {"WEIR_REDIS_URL": "http://:hunter2@h"}).settings)
    assert "redis.url" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_redis_that_does_not_answer_is_named_without_its_password():
    settings = load(None, {"WEIR_REDIS_URL": "redis://:hunter2@127.0.0.1:1/0", "WEIR_REDIS_TIMEOUT_MS": "200"}).settings

    async def run():
        client = redis_client(settings)
        try:
            await require_redis(client, settings)
        finally:
            await client.aclose()

    with pytest.raises(ConfigError) as caught:
        asyncio.run(run())
    assert "redis://:***@127.0.0.1:1/0" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_an_empty_registry_says_how_to_get_a_champion(tmp_path):
    settings = load(None, {"WEIR_MODEL_REGISTRY": str(tmp_path / "registry")}).settings

    with pytest.raises(ConfigError, match="weir train"):
        load_champion(settings)


@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=20), share=st.floats(0, 1), size=st.integers(1, 4096))
def test_a_written_settings_file_is_read_as_it_was(text, share, size):
    from service.demo import settings_toml

    settings = Settings()
    settings = msgspec.structs.replace(
        settings,
        kafka=msgspec.structs.replace(settings.kafka, sasl_user=text, ca_file=text),
        features=msgspec.structs.replace(settings.features, vector_share=share),
        scoring=msgspec.structs.replace(settings.scoring, chunk_size=size),
    )

    assert msgspec.convert(tomllib.loads(settings_toml(settings)), Settings) == settings
