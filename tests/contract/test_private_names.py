"""The private names of Faust and aiokafka that the transport builds on are as they were when it was written."""

import pytest

from domain.errors import ConfigError
from stream.self_check import ATTRIBUTES, SIGNATURES, check_private_names


def test_every_private_name_is_there_with_its_parameters():
    check_private_names()


@pytest.mark.parametrize("name", SIGNATURES)
def test_a_changed_signature_is_refused_by_name(name, monkeypatch):
    monkeypatch.setitem(SIGNATURES, name, (*SIGNATURES[name], "something_new"))

    with pytest.raises(ConfigError, match=name.rpartition(".")[2]) as refused:
        check_private_names()
    assert "install the locked versions" in str(refused.value)


def test_a_name_that_is_gone_is_refused(monkeypatch):
    monkeypatch.setitem(SIGNATURES, "faust.app.base:App._is_gone", ("self",))
    with pytest.raises(ConfigError, match="_is_gone"):
        check_private_names()


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_an_attribute_that_is_gone_is_refused(name, monkeypatch):
    monkeypatch.setitem(ATTRIBUTES, name, (*ATTRIBUTES[name], "_surely_not_there"))
    with pytest.raises(ConfigError, match="_surely_not_there"):
        check_private_names()


def test_what_the_transport_overrides_is_on_the_list():
    from stream.transport import ChunkConsumer, ChunkProducer
    from stream.transport_thread import ChunkThread

    listed = {name.rpartition(".")[2] for name in SIGNATURES}
    for ours in (ChunkConsumer, ChunkProducer, ChunkThread):
        inherited = {name for parent in ours.__mro__[1:] for name in vars(parent)}
        overridden = {name for name in vars(ours) if not name.startswith("__") and callable(vars(ours)[name])} & inherited
        assert overridden <= listed
