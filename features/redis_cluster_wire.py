"""The wire to a Redis Cluster: each call goes to the master that has its slot, also while slots move."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from redis.asyncio import Redis
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

from domain.errors import Unavailable
from features.redis_node import Command, Node, Packed, ReplyError, first_error
from features.redis_wire import N_LINES, Call, OnCall, OnConnection, SingleWire, raise_error, timed

Address = tuple[str, int]
#: Times that a call is sent on to where the cluster says its slot is.
_MOST_ROUNDS: Final = 5
#: Refusals that say nothing about who has which slot.
_SAME_MAP: Final = frozenset({"OOM", "MISCONF", "NOREPLICAS", "BUSY", "TRYAGAIN", "NOAUTH", "WRONGPASS", "NOPERM"})
_ASKING: Final[Command] = ("ASKING",)
_CLUSTER_SLOTS: Final[Command] = ("CLUSTER", "SLOTS")


class ClusterWire:
    """A `Wire` to all masters of a cluster."""

    is_cluster: bool = True

    def __init__(
        self,
        client: Redis,
        *,
        on_call: OnCall = lambda _: None,
        on_connection: OnConnection = lambda: None,
        n_lines: int = N_LINES,
    ) -> None:
        """Prepare; nothing is connected yet.

        Args:
            client: Of any node: its address, and how to connect to all of them. Its own connections are not used.
            on_call: Told the seconds of each round trip, None for one that was not answered.
            on_connection: Called after each new connection, before any command on it; `generation` has grown already.
            n_lines: Number of connections to each master.
        """
        self._pool = client.connection_pool
        self._on_call = on_call
        self._on_connection = on_connection
        self._n_lines = n_lines
        self._generation = 0
        self._nodes: dict[Address, Node] = {}
        self._owners: list[Address] = []
        self._guests: set[Address] = set()
        """Nodes that are about to get their first slot, so that the map does not name them yet."""
        self._known: list[Address] = []
        """Masters and replicas of the last map: whom to ask for the next one."""
        self._is_stale = True
        self._looking = asyncio.Lock()

    @property
    def generation(self) -> int:
        """See `Wire`."""
        return self._generation

    async def open(self) -> None:
        """Connect to all masters, unless they are connected: after an outage this spares a call that raises.

        Raises:
            Unavailable: A master cannot be reached, or a slot has none.
        """
        if not self._is_ready:
            await self._look_again()

    async def run(self, calls: Sequence[Call]) -> list[list[Any]]:
        """See `Wire`. A slot that moves to another master during the call is followed."""
        if not calls:
            return []
        with timed(self._on_call):
            await self._require()
            return await self._ask(calls)

    async def everywhere(self, commands: Sequence[Command]) -> list[list[Any]]:
        """See `Wire`. The masters' order is the same from call to call until one joins or leaves."""
        with timed(self._on_call):
            await self._require()
            addresses = sorted(self._nodes)
            is_wait = any(command[0] == "WAIT" for command in commands)
            nodes = [self._nodes[address] for address in addresses]
            sent = [node.send_to_all(commands) if is_wait else node.send(commands) for node in nodes]
            found = await asyncio.gather(*sent)
            for address, answers in zip(addresses, found, strict=True):
                self._check(address, first_error(commands, answers))
            return list(found)

    async def close(self) -> None:
        """See `Wire`."""
        self._is_stale = True
        for node in self._nodes.values():
            node.close()

    @property
    def _is_ready(self) -> bool:
        return not self._is_stale and all(node.is_open for node in self._nodes.values())

    async def _require(self) -> None:
        """Return if everything is connected since before the call, or for the first time."""
        if self._is_ready:
            return
        generation = self._generation
        await self._look_again()
        if generation not in (0, self._generation):
            raise Unavailable("a connection to the Redis cluster was lost and is open again; nothing was sent")

    async def _ask(self, calls: Sequence[Call]) -> list[list[Any]]:
        generation = self._generation
        found: list[list[Any]] = [[] for _ in calls]
        sendings = [_Sending(i, self._owners[key_slot(call.key)], False) for i, call in enumerate(calls)]
        for _ in range(_MOST_ROUNDS):
            redirected: list[_Sending] = []
            moved: list[_Sending] = []
            for sending, answers in await self._send(calls, sendings):
                error = first_error(calls[sending.place].commands, answers)
                if error is None:
                    found[sending.place] = answers
                elif error.code == "MOVED":
                    moved.append(sending)
                elif error.code == "ASK":
                    redirected.append(_Sending(sending.place, await self._told(error, sending.address), is_asking=True))
                else:
                    self._check(sending.address, error)
            if moved:
                await self._look_again(moved[0].address, is_needed=True)
            if self._generation != generation:
                raise Unavailable("a slot of the Redis cluster moved to a master that was not connected; it is now")
            sendings = redirected + [_Sending(i, self._owners[key_slot(calls[i].key)], False) for i, *_ in moved]
            if not sendings:
                return found
        raise Unavailable("the Redis cluster sends a call from node to node")

    async def _send(self, calls: Sequence[Call], sendings: "Sequence[_Sending]") -> "list[tuple[_Sending, list[Any]]]":
        """Write every call to its node, and return its answers."""
        by_node: dict[Address, list[_Sending]] = {}
        for sending in sendings:
            by_node.setdefault(sending.address, []).append(sending)
        written = []
        for address, group in by_node.items():
            commands = [c for each in group for c in _commands(calls[each.place], is_asking=each.is_asking)]
            written.append(self._node(address).send(commands))
        found = []
        for group, answers in zip(by_node.values(), await asyncio.gather(*written), strict=True):
            a = 0
            for each in group:
                sent = _commands(calls[each.place], is_asking=each.is_asking)
                b = a + len(sent)
                own = answers[a:b]
                found.append((each, [x for c, x in zip(sent, own, strict=True) if c is not _ASKING] if each.is_asking else own))
                a = b
        return found

    async def _told(self, error: ReplyError, asked: Address) -> Address:
        """Return the node that an `ASK slot host:port` names, connected."""
        host, _, port = str(error).split()[2].rpartition(":")
        address = (host or asked[0], int(port))
        if address not in self._nodes:
            self._guests.add(address)
            await self._look_again(asked, is_needed=True)
        return address

    def _check(self, address: Address, error: ReplyError | None) -> None:
        if error is not None:
            self._is_stale = self._is_stale or (error.is_transient and error.code not in _SAME_MAP)
            raise_error(self._node(address), error)

    def _node(self, address: Address) -> Node:
        """Return a connected node; another call may have found meanwhile that it is a master no more."""
        if address not in self._nodes:
            raise Unavailable("a master left the Redis cluster")
        return self._nodes[address]

    async def _look_again(self, source: Address | None = None, *, is_needed: bool = False) -> None:
        """Read which master has which slot, and connect to them all; those that are masters no more are left.

        Args:
            source: Whom to ask first.
            is_needed: Even if it seems to be known.
        """
        self._is_stale = self._is_stale or is_needed
        async with self._looking:
            if self._is_ready:  # another call has looked
                return
            owners, known = await self._map(source)
            self._guests -= {address for address in self._guests if address in self._nodes and not self._nodes[address].is_open}
            wanted = {*owners, *self._guests}
            for address in self._nodes.keys() - wanted:
                self._nodes.pop(address).close("it is a master no more")
            for address in wanted - self._nodes.keys():
                self._nodes[address] = Node(self._links_to(address), self._n_lines, self._count)
            self._owners, self._known = owners, known
            for node in self._nodes.values():
                await node.open()
            self._guests -= set(owners)
            self._is_stale = False

    async def _map(self, source: Address | None) -> tuple[list[Address], list[Address]]:
        """Return the master of each slot, and all nodes, as told by the first that answers."""
        kwargs = self._pool.connection_kwargs
        seed = (str(kwargs.get("host", "localhost")), int(kwargs.get("port", 6379)))
        problem = "no node answers"
        for address in dict.fromkeys([*([source] if source else []), *self._nodes, *self._known, seed]):
            node = self._nodes.get(address)
            is_own = node is None or not node.is_open
            asked = Node(self._links_to(address), 1, lambda: None) if is_own or node is None else node
            try:
                await asked.open()
                answer = (await asked.send([_CLUSTER_SLOTS]))[0]
                if not isinstance(answer, ReplyError):
                    return _parse(answer, address)
                problem = str(answer)
            except Unavailable as error:
                problem = str(error)
            finally:
                if is_own:
                    asked.close()
        raise Unavailable(f"the Redis cluster does not tell its slots (redis.url): {problem}")

    def _links_to(self, address: Address) -> Callable[[], Any]:
        kwargs = {**self._pool.connection_kwargs, "host": address[0], "port": address[1]}
        return lambda: self._pool.connection_class(**kwargs)

    def _count(self) -> None:
        self._generation += 1
        self._on_connection()


class _Sending(NamedTuple):
    place: int
    """Of the call."""
    address: Address
    is_asking: bool
    """Whether the node is only about to get the slot, so that it wants to be asked politely."""


async def open_wire(
    client: Redis, *, on_call: OnCall = lambda _: None, on_connection: OnConnection = lambda: None, n_lines: int = N_LINES
) -> SingleWire | ClusterWire:
    """Return the wire that fits what the client's address belongs to, connected.

    Raises:
        Unavailable: It does not answer.
    """
    first = SingleWire(client, n_lines=1)
    try:
        [[text]] = await first.everywhere([("INFO", "cluster")])
    finally:
        await first.close()
    kind = ClusterWire if b"cluster_enabled:1" in text else SingleWire
    wire = kind(client, on_call=on_call, on_connection=on_connection, n_lines=n_lines)
    await wire.open()
    return wire


def _commands(call: Call, *, is_asking: bool) -> Sequence[Command | Packed]:
    """Return what is sent of a call. `ASKING` holds for the next command, or for all of a transaction that it opens."""
    if not is_asking:
        return call.commands
    commands: list[Command | Packed] = []
    is_inside = False
    for command in call.commands:
        commands += [command] if is_inside else [_ASKING, command]
        is_inside = command[0] == "MULTI" or (is_inside and command[0] != "EXEC")
    return commands


def _parse(answer: Any, asked: Address) -> tuple[list[Address], list[Address]]:
    """Return the master of each slot, and all nodes, of an answer to CLUSTER SLOTS."""
    owners: list[Address | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
    known: list[Address] = []
    for first, last, *nodes in answer:
        # An empty host means: the one that was asked.
        addresses = [((host or b"").decode() or asked[0], int(port)) for host, port, *_ in nodes]
        owners[first : last + 1] = [addresses[0]] * (last + 1 - first)
        known += addresses
    found = [owner for owner in owners if owner is not None]
    if len(found) < REDIS_CLUSTER_HASH_SLOTS:
        raise Unavailable(f"the Redis cluster has masters for {len(found)} of {REDIS_CLUSTER_HASH_SLOTS} slots (redis.url)")
    return found, list(dict.fromkeys(known))
