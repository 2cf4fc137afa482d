"""The settings: one frozen tree, built once, validated at start-up. The only reader of the environment.

Each value comes from the first of: environment (`WEIR_<SECTION>_<NAME>`, secrets also as `..._FILE`), the TOML file,
the running embedded services (addresses only), the default.
"""

import os
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_args

import msgspec
from msgspec import Meta

from domain.errors import ConfigError
from features.spec import FeatureSettings
from models.store import without_secrets

PREFIX = "WEIR_"
DEFAULT_FILE = Path("weir.toml")
_FILE_SUFFIX = "_FILE"
_SECRETS = frozenset({"kafka.sasl_password", "redis.password", "model.signing_key", "monitoring.webhook_url", "monitoring.webhook_secret"})
#: Settings that a file can hold, named by `..._FILE`.
_IN_FILES = _SECRETS | {"model.verify_key"}
_PASSWORD_OPTION = re.compile(r"(?<=[?&]password=)[^&#]*")


class _Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class KafkaSettings(_Section, frozen=True):
    """Where Kafka is and how to talk to it."""

    bootstrap: Annotated[str, Meta(description="brokers, host:port, separated by commas; empty = the embedded broker")] = ""
    prefix: Annotated[str, Meta(description="put before every topic and group name", pattern=r"^[a-zA-Z0-9._-]*\Z")] = ""
    group: Annotated[str, Meta(description="consumer group of the workers", min_length=1)] = "weir"
    security_protocol: Annotated[
        Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"], Meta(description="how connections are secured")
    ] = "PLAINTEXT"
    sasl_mechanism: Annotated[Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"], Meta(description="SASL mechanism")] = "SCRAM-SHA-512"
    sasl_user: Annotated[str, Meta(description="SASL user name")] = ""
    sasl_password: Annotated[str, Meta(description="SASL password")] = ""
    ca_file: Annotated[str, Meta(description="PEM file of the certificate authority; empty = the system's")] = ""
    cert_file: Annotated[str, Meta(description="PEM file of the client certificate")] = ""
    key_file: Annotated[str, Meta(description="PEM file of the client key")] = ""


class RedisSettings(_Section, frozen=True):
    """Where Redis is."""

    url: Annotated[str, Meta(description="redis://host:port/db or rediss://...; empty = the embedded Redis")] = ""
    password: Annotated[str, Meta(description="password, if it is not in the url")] = ""
    prefix: Annotated[str, Meta(description="put before every key", pattern=r"^[^{}]*$")] = "weir:"
    timeout_ms: Annotated[int, Meta(description="longest wait for one answer, in ms", ge=10, le=10_000)] = 500
    wait_replicas: Annotated[int, Meta(description="replicas that must have a commit's states, before it", ge=0, le=10)] = 0


class FeaturesSettings(FeatureSettings, frozen=True, forbid_unknown_fields=True):
    """What the features mean (in the fingerprint) and how they are kept."""

    rates: Annotated[str, Meta(description="CSV file (date,currency,rate): base-currency units per unit; empty = base currency only")] = ""
    vector_share: Annotated[float, Meta(description="share of transactions whose vector is logged to features.v1", ge=0, le=1)] = 1.0
    duplicate_window_s: Annotated[
        int, Meta(description="a transaction_id sent again within this time (append time) is a duplicate, in s", ge=0, le=30 * 86_400)
    ] = 3_600
    index_max_bytes: Annotated[int, Meta(description="most bytes of the decision index; 0 = no bound (index_days decides)", ge=0)] = 0
    index_days: Annotated[int, Meta(description="days that the decision index keeps a transaction for its label", ge=1, le=400)] = 45

    def definition(self) -> FeatureSettings:
        """Return the part that the fingerprint covers."""
        return FeatureSettings(base_currency=self.base_currency, time_zone=self.time_zone, maturity_days=self.maturity_days)


class ModelSettings(_Section, frozen=True):
    """Where models are kept and who may sign them."""

    registry: Annotated[
        str, Meta(description="the model registry: a folder, or a store as s3://, gs:// or abfs://bucket/folder", min_length=1)
    ] = "var/registry"
    cache: Annotated[str, Meta(description="local folder of the bundles that were fetched from a registry in a store", min_length=1)] = (
        "var/models"
    )
    signing_key: Annotated[
        str,
        Meta(
            description="signs bundles and policies: an Ed25519 private key (PEM), or any secret for HMAC-SHA256; "
            "empty = the file beside the registry, made on first use"
        ),
    ] = ""
    poll_s: Annotated[
        float, Meta(description="time between two looks at the registry, in s: a worker serves what it says within it", ge=0.05, le=3600)
    ] = 1.0
    trial_maturity_days: Annotated[
        int,
        Meta(
            description="age in days at which a transaction counts in a trial: by then a fraud must be known whichever model alerted "
            "on it; 0 = features.maturity_days",
            ge=0,
            le=60,
        ),
    ] = 0
    verify_key: Annotated[
        str, Meta(description="Ed25519 public key (PEM, or its one line): who has only this can verify models but not sign any")
    ] = ""


class PolicySettings(_Section, frozen=True):
    """The default policy that training puts into a bundle."""

    alert_rate: Annotated[float, Meta(description="share of transactions that become alerts", gt=0, le=0.2)] = 0.005
    decline_share: Annotated[float, Meta(description="share of the alerts that are declined, the rest is reviewed", ge=0, le=1)] = 0.4


class GateSettings(_Section, frozen=True):
    """What a model must show before it may become champion."""

    fairness: Annotated[
        str, Meta(description="columns of the history whose groups must not be stopped more often, by commas; `extra.<key>` too")
    ] = ""
    folds: Annotated[int, Meta(description="newest weeks that candidate and champion are trained for and compared on", ge=1, le=26)] = 4
    one_row_ms: Annotated[float, Meta(description="longest time of the full model for one transaction, 99th percentile, in ms", gt=0)] = 1.0
    batch_row_us: Annotated[float, Meta(description="longest time for each of 256 transactions at once, in microseconds", gt=0)] = 60.0
    required: Annotated[
        bool, Meta(description="promote only what the gate has passed against this champion; else a missing verdict warns")
    ] = False

    def columns(self) -> list[str]:
        """Return the columns of `fairness`."""
        return [name.strip() for name in self.fairness.split(",") if name.strip()]


class ScoringSettings(_Section, frozen=True):
    """How the worker takes and answers transactions."""

    chunk_size: Annotated[int, Meta(description="most transactions scored in one call", ge=1, le=4096)] = 500
    on_outage: Annotated[
        Literal["degrade", "pause"], Meta(description="without Redis: answer without history (flag degraded), or wait")
    ] = "degrade"
    latency_budget_ms: Annotated[
        float,
        Meta(description="age of a chunk's oldest transaction from which on the small model answers, in ms; 0 = never", ge=0, le=3_600_000),
    ] = 0.0
    reasons_budget_ms: Annotated[
        float, Meta(description="time per chunk for exact reasons, in ms; beyond it the small model gives them", ge=0, le=60_000)
    ] = 20.0
    reason_texts: Annotated[
        str, Meta(description="TOML file with the sentences of reasons in another language, see docs/reasons.md; empty = English")
    ] = ""
    control_scale: Annotated[
        float, Meta(description="control sample: share reviewed at random = this times the root of the probability; 0 = none", ge=0, le=10)
    ] = 0.0
    release_control: Annotated[bool, Meta(description="a sampled transaction that would be declined is only marked for review")] = False


class MonitoringSettings(_Section, frozen=True):
    """Where a worker shows its health and metrics."""

    bind: Annotated[str, Meta(description="address of /healthz and /metrics")] = "127.0.0.1"
    port: Annotated[int, Meta(description="port of /healthz and /metrics; 0 = a free one", ge=0, le=65535)] = 0
    directory: Annotated[str, Meta(description="folder in which `weir web` keeps hours, incidents and quality", min_length=1)] = (
        "var/monitoring"
    )
    on_alarm: Annotated[
        Literal["notify", "incident", "train"], Meta(description="what an alarm does: tell, open an incident, or also train a candidate")
    ] = "incident"
    webhook_url: Annotated[str, Meta(description="address that alarms are posted to, signed; empty = none")] = ""
    webhook_secret: Annotated[str, Meta(description="key of the webhooks' HMAC-SHA256 signature")] = ""


class WebSettings(_Section, frozen=True):
    """Where the dashboard is."""

    bind: Annotated[str, Meta(description="loopback address of the dashboard")] = "127.0.0.1"
    port: Annotated[int, Meta(description="port of the dashboard; 0 = a free one", ge=0, le=65535)] = 8_700


class ArchiveSettings(_Section, frozen=True):
    """Where `weir archive` writes."""

    directory: Annotated[str, Meta(description="folder of the archive", min_length=1)] = "var/archive"
    keep_days: Annotated[int, Meta(description="whole UTC days that the archive keeps; 0 = all", ge=0)] = 0
    port: Annotated[int, Meta(description="port of its /healthz and /metrics; 0 = a free one", ge=0, le=65535)] = 0


class EmbeddedSettings(_Section, frozen=True):
    """The Kafka and Redis that weir runs itself when no address is set."""

    directory: Annotated[str, Meta(description="folder of data, logs and state", min_length=1)] = "var"
    retention_bytes: Annotated[int, Meta(description="most bytes that Kafka keeps in all", ge=64 << 20)] = 2 << 30
    kafka_heap_mb: Annotated[int, Meta(description="Java heap of the broker, in MB", ge=256)] = 512


class Settings(_Section, frozen=True):
    """Everything that can be set."""

    kafka: KafkaSettings = KafkaSettings()
    redis: RedisSettings = RedisSettings()
    features: FeaturesSettings = FeaturesSettings()
    model: ModelSettings = ModelSettings()
    policy: PolicySettings = PolicySettings()
    gate: GateSettings = GateSettings()
    scoring: ScoringSettings = ScoringSettings()
    monitoring: MonitoringSettings = MonitoringSettings()
    web: WebSettings = WebSettings()
    archive: ArchiveSettings = ArchiveSettings()
    embedded: EmbeddedSettings = EmbeddedSettings()


def refuse_telemetry() -> None:
    """Let optional libraries tell nobody about this installation; call it before they are imported."""
    os.environ["DO_NOT_TRACK"] = "true"


class Entry(NamedTuple):
    """One setting in force, as `weir config` shows it."""

    name: str
    value: object
    """Secrets as ***."""
    source: str
    meaning: str


class Loaded(NamedTuple):
    """The settings and where each value came from."""

    settings: Settings
    sources: Mapping[str, str]
    """`section.name` -> source, for values that are not defaults."""

    def entries(self) -> list[Entry]:
        """Return every setting in force, in the order of the sections."""
        found = []
        for section in msgspec.structs.fields(Settings):
            part = getattr(self.settings, section.name)
            for field in msgspec.structs.fields(part):
                name = f"{section.name}.{field.name}"
                value = getattr(part, field.name)
                shown = "***" if value and name in _SECRETS else _ADDRESSES[name](value) if name in _ADDRESSES else value
                found.append(Entry(name, shown, self.sources.get(name, "default"), _description(field.type)))
        return found


def load(config: Path | None = None, environ: Mapping[str, str] = os.environ) -> Loaded:
    """Return the settings in force.

    Args:
        config: TOML file; None = `WEIR_CONFIG`, else `./weir.toml` if there is one.
        environ: The environment.

    Raises:
        ConfigError: A name is unknown or a value is out of range; the message has the name, the value and its source.
    """
    tree: dict[str, dict[str, Any]] = {}
    sources: dict[str, str] = {}
    path = config or (Path(environ["WEIR_CONFIG"]) if environ.get("WEIR_CONFIG") else None)
    if path is None and DEFAULT_FILE.exists():
        path = DEFAULT_FILE
    if path is not None:
        _read_file(path, tree, sources)
    _read_environment(environ, tree, sources)
    settings = _convert(tree, sources)
    return Loaded(settings, sources)


def with_addresses(loaded: Loaded, *, bootstrap: str | None, redis_url: str | None) -> Loaded:
    """Return `loaded` with the embedded services' addresses where none is set."""
    settings, sources = loaded.settings, dict(loaded.sources)
    if bootstrap and not settings.kafka.bootstrap:
        settings = msgspec.structs.replace(settings, kafka=msgspec.structs.replace(settings.kafka, bootstrap=bootstrap))
        sources["kafka.bootstrap"] = "embedded"
    if redis_url and not settings.redis.url:
        settings = msgspec.structs.replace(settings, redis=msgspec.structs.replace(settings.redis, url=redis_url))
        sources["redis.url"] = "embedded"
    return Loaded(settings, sources)


def without_password(url: str) -> str:
    """Return `url` with its password as ***.

    >>> without_password("redis://:secret@localhost:6379/0")
    'redis://:***@localhost:6379/0'
    """
    scheme, separator, rest = _PASSWORD_OPTION.sub("***", url).partition("://")
    credentials, at, host = rest.rpartition("@")
    user, colon, _ = credentials.partition(":")
    return f"{scheme}{separator}{user}{colon}***@{host}" if colon else f"{scheme}{separator}{credentials}{at}{host}"


#: Settings that may hold an address with a password in it -> as it is printed.
_ADDRESSES: Mapping[str, Callable[[str], str]] = {"redis.url": without_password, "model.registry": without_secrets}


def environment_name(name: str) -> str:
    """Return the variable of a setting: `kafka.bootstrap` -> `WEIR_KAFKA_BOOTSTRAP`."""
    return PREFIX + name.replace(".", "_").upper()


def names() -> list[str]:
    """Return `section.name` of every setting."""
    return [f"{s.name}.{f.name}" for s in msgspec.structs.fields(Settings) for f in msgspec.structs.fields(s.default)]


def _read_file(path: Path, tree: dict[str, dict[str, Any]], sources: dict[str, str]) -> None:
    try:
        found = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read the settings file {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error
    known = frozenset(names())
    for section, values in found.items():
        if not isinstance(values, dict):
            raise ConfigError(f"{path}: {section} stands outside a section; write [section] above it")
        for name in (f"{section}.{key}" for key in values):
            if name not in known:
                raise ConfigError(f"unknown setting {name} in {path}; `weir config` lists all names")
        tree[section] = dict(values)
        sources.update({f"{section}.{name}": str(path) for name in values})


def _read_environment(environ: Mapping[str, str], tree: dict[str, dict[str, Any]], sources: dict[str, str]) -> None:
    known = {environment_name(name): name for name in names()}
    files = {environment_name(name) + _FILE_SUFFIX: name for name in _IN_FILES}
    for variable, text in environ.items():
        if not variable.startswith(PREFIX) or variable == "WEIR_CONFIG":
            continue
        name = known.get(variable) or files.get(variable)
        if name is None:
            raise ConfigError(f"unknown setting {variable}; `weir config` lists all names")
        if variable in files and environment_name(name) in environ:
            raise ConfigError(f"{environment_name(name)} and {variable} are both set; keep one of them")
        section, _, key = name.partition(".")
        value = text if variable in known else _secret(variable, Path(text))
        tree.setdefault(section, {})[key] = value
        sources[name] = variable


def _secret(variable: str, path: Path) -> str:
    try:
        return path.read_text("utf-8").strip()
    except OSError as error:
        raise ConfigError(f"{variable}: cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{variable}: {path} is not text in UTF-8") from error


def _convert(tree: dict[str, dict[str, Any]], sources: Mapping[str, str]) -> Settings:
    try:
        return msgspec.convert(tree, Settings, strict=False)
    except msgspec.ValidationError as error:
        message = str(error)
        place = message.rpartition(" - at `$.")[2].rstrip("`") if " - at `$." in message else ""
        section, _, key = place.partition(".")
        value = "***" if place in _SECRETS | _ADDRESSES.keys() else repr(tree.get(section, {}).get(key)) if key else ""
        where = f" (from {sources[place]})" if place in sources else ""
        found = f"; found {value}" if value else ""
        raise ConfigError(
            f"{place or 'settings'}: {_rule(place, message.partition(' - at ')[0])}{found}{where}; `weir config` lists all names"
        ) from error


def _rule(place: str, message: str) -> str:
    if not message.startswith("Invalid enum value"):
        return message
    section, _, key = place.partition(".")
    annotation = next(f.type for s in msgspec.structs.fields(Settings) if s.name == section
                      for f in msgspec.structs.fields(s.default) if f.name == key)  # fmt: skip
    return "Expected one of " + ", ".join(get_args(get_args(annotation)[0]))


def _description(annotation: object) -> str:
    for meta in getattr(annotation, "__metadata__", ()):
        if isinstance(meta, Meta) and meta.description:
            return meta.description
    return ""
