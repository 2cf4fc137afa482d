"""How to reach Kafka, in the words of each client library."""

import ssl
from pathlib import Path
from typing import Any, Final

import msgspec

from domain.errors import ConfigError
from stream.topics import Topic

#: The largest record that a worker reads or publishes: a dead letter with its headers.
LARGEST_REQUEST_BYTES: Final = 2 * 1024 * 1024


class KafkaConnection(msgspec.Struct, frozen=True, kw_only=True):
    """Where Kafka is and how connections are secured. Printing it never shows the password."""

    bootstrap: str
    """host:port of one or more brokers, separated by commas."""
    prefix: str = ""
    """Put before every topic and group name."""
    security_protocol: str = "PLAINTEXT"
    """PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL."""
    sasl_mechanism: str = "SCRAM-SHA-512"
    """PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512."""
    sasl_user: str = ""
    sasl_password: str = ""
    ca_file: str = ""
    """PEM; empty = the system's authorities."""
    cert_file: str = ""
    key_file: str = ""

    def __repr__(self) -> str:
        user = f", user={self.sasl_user}, password=***" if self._has_sasl else ""
        return f"KafkaConnection({self.bootstrap}, prefix={self.prefix!r}, {self.security_protocol}{user})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("bootstrap", self.bootstrap), ("prefix", self.prefix), ("security_protocol", self.security_protocol)]

    def topic(self, topic: Topic | str) -> str:
        """Return the full name of `topic`: the prefix, then its name."""
        return self.prefix + (topic if isinstance(topic, str) else topic.name)

    def group(self, name: str) -> str:
        """Return the full name of a consumer group."""
        return self.prefix + name

    def servers(self) -> list[str]:
        """Return the brokers to begin with, host:port each."""
        return [server.strip() for server in self.bootstrap.split(",") if server.strip()]

    def aiokafka(self) -> dict[str, Any]:
        """Return keyword arguments for aiokafka's clients.

        Raises:
            ConfigError: A certificate or key file cannot be used.
        """
        return {**self._shared(), "ssl_context": self._ssl_context()}

    def kafka_python(self) -> dict[str, Any]:
        """Return keyword arguments for kafka-python's clients.

        Raises:
            ConfigError: A certificate or key file cannot be used.
        """
        return {**self._shared(), "ssl_context": self._ssl_context()}

    def faust_url(self) -> str:
        """Return Faust's broker address. It holds no credentials: the transport makes its clients from `aiokafka()`."""
        return ";".join(f"kafka://{server}" for server in self.servers())

    @property
    def _has_sasl(self) -> bool:
        return self.security_protocol.startswith("SASL_")

    @property
    def _has_tls(self) -> bool:
        return self.security_protocol.endswith("SSL")

    def _shared(self) -> dict[str, Any]:
        found: dict[str, Any] = {"bootstrap_servers": self.servers(), "security_protocol": self.security_protocol}
        if self._has_sasl:
            found |= {
                "sasl_mechanism": self.sasl_mechanism,
                "sasl_plain_username": self.sasl_user,
                "sasl_plain_password": self.sasl_password,
            }
        return found

    def _ssl_context(self) -> ssl.SSLContext | None:
        if not self._has_tls:
            return None
        for name in ("ca_file", "cert_file", "key_file"):
            path = getattr(self, name)
            if path and not Path(path).is_file():
                raise ConfigError(f"kafka.{name} names {path}, which is no file")
        try:
            context = ssl.create_default_context(cafile=self.ca_file or None)
            if self.cert_file:
                context.load_cert_chain(self.cert_file, self.key_file or None)
        except (ssl.SSLError, OSError) as error:
            raise ConfigError(f"kafka.ca_file, kafka.cert_file or kafka.key_file cannot be used: {error}") from error
        return context
