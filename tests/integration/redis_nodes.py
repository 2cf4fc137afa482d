"""Real Redis servers for tests, alone, as a pair and as a cluster; all end with the block that asked for them."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import redis
from redis.asyncio import Redis, RedisCluster
from redis.crc import key_slot

from features.redis_cluster_wire import ClusterWire
from features.redis_wire import SingleWire
from service.embedded_redis import RedisServer
from service.embedded_server import HOST

N_SLOTS = 16_384
CLUSTER_OPTIONS = {"cluster_enabled": "yes", "cluster_node_timeout": "2000"}
_PATIENCE_S = 30.0


def until(is_so: Callable[[], object], what: str) -> None:
    """Return when something has come true; look often, and not for ever."""
    deadline_s = time.monotonic() + _PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline_s, f"not in {_PATIENCE_S:.0f} s: {what}"
        time.sleep(0.01)


class RedisNode(RedisServer):
    """One server: `.url`, `.port`, `.start() .kill() .stop()` (same port and data), and what a test does to it."""

    N_PORTS: ClassVar[int] = 2

    def __init__(self, directory: Path, **options: str) -> None:
        """Describe it; nothing is started.

        Args:
            directory: Folder of its own.
            options: Configuration lines, `_` for `-`.
        """
        super().__init__(directory, is_guarded=True)
        self._options = options

    def _prepare(self, ports: tuple[int, ...]) -> list[str]:
        options = {"repl-diskless-sync-delay": "0", **{name.replace("_", "-"): value for name, value in self._options.items()}}
        if "cluster-enabled" in options:
            options["cluster-port"] = str(ports[1])
        return [*super()._prepare(ports), *(part for name, value in options.items() for part in (f"--{name}", value))]

    def ask(self, *command: str | bytes | int):
        """Return the answer of a connection of its own."""
        with redis.Redis(host=HOST, port=self.port, socket_timeout=10) as client:
            return client.execute_command(*command)

    def pause(self) -> None:
        """Let it answer nothing, with all connections open."""
        os.kill(self.process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it answer again."""
        os.kill(self.process.pid, signal.SIGCONT)

    def fill(self) -> None:
        """Let it refuse whatever needs memory."""
        self.ask("CONFIG", "SET", "maxmemory", 1)

    def empty(self) -> None:
        """Let it take writes again."""
        self.ask("CONFIG", "SET", "maxmemory", 0)

    def flush(self) -> None:
        """Remove every key."""
        self.ask("FLUSHALL")

    def follow(self, primary: "RedisNode") -> None:
        """Become a replica, and return when it has everything."""
        self.ask("REPLICAOF", HOST, primary.port)
        until(lambda: self.ask("INFO", "replication")["master_link_status"] == "up", "the replica is in step")

    def promote(self) -> None:
        """Become a primary with what it has."""
        self.ask("REPLICAOF", "NO", "ONE")


class Pair:
    """A primary and its replica."""

    def __init__(self, primary: RedisNode, replica: RedisNode) -> None:
        self.primary = primary
        self.replica = replica

    def fail_over(self) -> None:
        """Kill the primary (SIGKILL) and promote the replica. `primary.start()` and `primary.follow(replica)` lead back."""
        self.primary.kill()
        self.replica.promote()


class Cluster:
    """Masters, each with a third of the slots."""

    def __init__(self, nodes: list[RedisNode]) -> None:
        self.nodes = nodes

    @property
    def url(self) -> str:
        """Address of one of them."""
        return self.nodes[0].url

    def slots(self, node: RedisNode) -> list[int]:
        """Return the slots of a node, as itself sees it."""
        return [
            slot for first, last, (_, port, *_), *_ in _slots(node) if port == node.port for slot in range(first, last + 1)
        ]  # fmt: skip

    def owner(self, key: bytes) -> RedisNode:
        """Return the master of a key, as itself sees it."""
        return next(node for node in self.nodes if key_slot(key) in self.slots(node))

    def begin_move(self, slot: int, source: RedisNode, target: RedisNode) -> None:
        """Let the target ask for a slot, and the source give it away, without any key yet."""
        target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source.ask("CLUSTER", "MYID"))
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", target.ask("CLUSTER", "MYID"))

    def move_keys(self, slot: int, source: RedisNode, target: RedisNode) -> None:
        """Carry over the slot's keys."""
        while keys := source.ask("CLUSTER", "GETKEYSINSLOT", slot, 100):
            source.ask("MIGRATE", HOST, target.port, "", 0, 5_000, "KEYS", *keys)

    def end_move(self, slot: int, target: RedisNode) -> None:
        """Let everybody know that the slot is the target's."""
        owner_id = target.ask("CLUSTER", "MYID")
        for node in [target, *(node for node in self.nodes if node is not target)]:
            node.ask("CLUSTER", "SETSLOT", slot, "NODE", owner_id)

    def join(self, node: RedisNode) -> None:
        """Take in a master without slots, and return when everybody knows it."""
        self.nodes[0].ask("CLUSTER", "MEET", HOST, node.port, node._ports[1])
        self.nodes.append(node)
        until(lambda: all(_known(each) == len(self.nodes) for each in self.nodes), "everybody knows everybody")

    def follow(self, node: RedisNode, master: RedisNode) -> None:
        """Take in a replica of a master, and return when it has everything and the others know."""
        self.join(node)
        node.ask("CLUSTER", "REPLICATE", master.ask("CLUSTER", "MYID"))
        until(lambda: node.ask("INFO", "replication")["master_link_status"] == "up", "the replica is in step")
        until(lambda: all(len(_replicas(each, master)) == 1 for each in self.nodes), "everybody knows the replica")


class Site:
    """Where weir's keys lie: one server, or the masters of a cluster."""

    def __init__(self, masters: list[RedisNode]) -> None:
        """Empty them; more than one are a cluster."""
        self.masters = masters
        self.is_cluster = len(masters) > 1
        self.url = masters[0].url
        for each in masters:
            each.flush()

    def new_wire(self) -> SingleWire | ClusterWire:
        """Return a wire that is not connected yet."""
        return (ClusterWire if self.is_cluster else SingleWire)(Redis.from_url(self.url))

    def new_client(self) -> Redis | RedisCluster:
        """Return a client to look at keys and to damage them."""
        return (RedisCluster if self.is_cluster else Redis).from_url(self.url)

    def all_keys(self) -> list[bytes]:
        """Return all keys."""
        return [key for each in self.masters for key in each.ask("KEYS", "*")]


@contextmanager
def single(directory: Path, **options: str) -> Iterator[RedisNode]:
    """One running server."""
    node = RedisNode(directory, **options)
    try:
        node.start()
        yield node
    finally:
        _end([node])


@contextmanager
def pair(directory: Path, **options: str) -> Iterator[Pair]:
    """A running primary with its replica, in step."""
    nodes = [RedisNode(directory / name, **options) for name in ("primary", "replica")]
    try:
        for node in nodes:
            node.start()
        nodes[1].follow(nodes[0])
        yield Pair(*nodes)
    finally:
        _end(nodes)


@contextmanager
def cluster(directory: Path, *, n_masters: int = 3, **options: str) -> Iterator[Cluster]:
    """A running cluster that is in working order."""
    options = {**CLUSTER_OPTIONS, **options}
    nodes = [RedisNode(directory / f"node-{i}", **options) for i in range(n_masters)]
    try:
        for node in nodes:
            node.launch()
        for i, node in enumerate(nodes):
            node.wait_until_ready()
            node.ask("CLUSTER", "ADDSLOTSRANGE", N_SLOTS * i // n_masters, N_SLOTS * (i + 1) // n_masters - 1)
            node.ask("CLUSTER", "SET-CONFIG-EPOCH", i + 1)
        made = Cluster(nodes[:1])
        for node in nodes[1:]:
            made.join(node)
        until(lambda: all(is_working(node) for node in nodes), "the cluster works")
        yield made
    finally:
        _end(nodes)


def is_working(node: RedisNode) -> bool:
    """Return whether a cluster's node sees it in working order."""
    return _text(node.ask("CLUSTER", "INFO")).get("cluster_state") == "ok"


def _known(node: RedisNode) -> int:
    return int(_text(node.ask("CLUSTER", "INFO"))["cluster_known_nodes"])


def _text(answer) -> dict[str, str]:
    return answer if isinstance(answer, dict) else dict(line.split(":", 1) for line in answer.decode().splitlines() if ":" in line)


def _replicas(node: RedisNode, master: RedisNode) -> list:
    return next((replicas for _, _, (_, port, *_), *replicas in _slots(node) if port == master.port), [])


def _slots(node: RedisNode) -> list:
    with redis.Redis(host=HOST, port=node.port) as client:
        client.response_callbacks.clear()
        return client.execute_command("CLUSTER SLOTS")


def _end(nodes: list[RedisNode]) -> None:
    for node in nodes:
        if node.process is not None:
            node.resume()
            node.kill()
