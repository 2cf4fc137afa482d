"""The embedded Redis by itself."""

import socket

import redis

from service.embedded_redis import RedisServer
from service.embedded_server import HOST


def test_it_never_evicts_and_keeps_its_data_through_an_orderly_restart(redis_server, redis_client):
    redis_client.set("kept", "yes")
    redis_server.stop()
    redis_server.start()

    with redis.Redis.from_url(redis_server.url) as client:
        assert client.get("kept") == b"yes"
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert client.config_get("bind") == {"bind": "127.0.0.1"}


def test_a_port_that_was_taken_after_it_was_chosen_is_replaced(tmp_path):
    server = RedisServer(tmp_path, is_guarded=True)
    with socket.socket() as thief:
        thief.bind((HOST, 0))
        thief.listen()
        server._ports, server._may_move = (thief.getsockname()[1],), True
        taken = server.port
        server.start()

        assert server.port != taken
        assert server.answers()
        server.kill()


def test_another_redis_on_our_port_is_not_taken_for_ours(redis_server, tmp_path):
    ours = RedisServer(tmp_path / "ours", is_guarded=True)
    other = RedisServer(tmp_path / "other", is_guarded=True)
    other.start()
    ours.adopt(other.process, redis_server.port)

    assert other.answers()
    assert not ours.answers()
    other.kill()
