"""Kafka connections: what each client is given, and what is never shown."""

import pytest
from rich.pretty import pretty_repr

from domain.errors import ConfigError
from stream.connection import KafkaConnection
from stream.topics import SCORES

SECURED = KafkaConnection(
    bootstrap="a:1, b:2", prefix="x.", security_protocol="SASL_SSL", sasl_mechanism="PLAIN", sasl_user="u", sasl_password="s3cret"
)


def test_the_password_is_never_printed():
    assert "s3cret" not in repr(SECURED) + str(SECURED) + pretty_repr(SECURED) + f"{SECURED}"


def test_names_carry_the_prefix():
    assert (SECURED.topic(SCORES), SECURED.topic("t"), SECURED.group("g")) == ("x.scores.v1", "x.t", "x.g")


def test_every_client_gets_servers_credentials_and_encryption():
    for given in (SECURED.aiokafka(), SECURED.kafka_python()):
        assert given.pop("ssl_context") is not None
        assert given == {
            "bootstrap_servers": ["a:1", "b:2"],
            "security_protocol": "SASL_SSL",
            "sasl_mechanism": "PLAIN",
            "sasl_plain_username": "u",
            "sasl_plain_password": "s3cret",
        }


def test_the_engines_address_holds_no_credentials():
    assert SECURED.faust_url() == "kafka://a:1;kafka://b:2"


def test_plain_connections_have_neither_credentials_nor_encryption():
    plain = KafkaConnection(bootstrap="a:1").aiokafka()
    assert plain == {"bootstrap_servers": ["a:1"], "security_protocol": "PLAINTEXT", "ssl_context": None}


def test_a_certificate_that_is_not_there_is_named(tmp_path):
    missing = tmp_path / "ca.pem"
    with pytest.raises(ConfigError, match=r"kafka\.ca_file names .*ca\.pem"):
        KafkaConnection(bootstrap="a:1", security_protocol="SSL", ca_file=str(missing)).aiokafka()
    missing.write_text("no certificate")
    with pytest.raises(ConfigError, match="cannot be used"):
        KafkaConnection(bootstrap="a:1", security_protocol="SSL", ca_file=str(missing)).aiokafka()
