"""The registry: bundles, which of them is champion, which one is on trial, and the live policy; in a folder or in a store."""

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from domain.errors import BundleRejected, ModelError, NoChampion
from models.documents import Documents
from models.manifest import MANIFEST, Manifest, decode_manifest, version_of
from models.registry_bundles import BundleFolder, find
from models.registry_history import CHALLENGER, CHAMPION, Event, EventName, History, Overtaken, Rollout, State, Turn, registered
from models.store import Store
from models.store_bundles import StoreBundles
from models.store_history import StoreHistory

_HISTORY: Final = "history.jsonl"
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
KEPT: Final = 20
"""Models without an alias that a collection keeps."""
_YOUNG_MS: Final = 86_400_000
_MOST_TURNS: Final = 100
Result = TypeVar("Result")


class Entry(msgspec.Struct, frozen=True):
    """One model of the registry."""

    reference: str
    """`name@version`."""
    aliases: tuple[str, ...]
    registered_ms: int
    manifest: Manifest


class Registry:
    """Bundles, aliases that are swapped atomically, and a history that is only appended to.

    The last event of the history holds what is in force: a change is one event, so a reader sees the state before it or
    after it, and a crash in between leaves the one before.

    Every method that changes something takes `expected`, the state that its caller saw (None = whatever it is; ModelError
    if it is another by now), `who` and `why` for the history. Among threads, processes and (in a store) machines that change
    it at the same time, no change is lost: in a folder they wait for a lock, in a store whoever was overtaken looks again.

    In a store any method may raise StoreUnavailable. Then nothing was changed, unless the answer was lost: look again.

    Args:
        root: Folder, made on first use; or a store.
        clock_ms: Wall clock, in ms since the epoch.
    """

    def __init__(self, root: Path | Store, clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000) -> None:
        self._root = root
        self._clock_ms = clock_ms
        self._history: History | StoreHistory
        self._bundles: BundleFolder | StoreBundles
        if isinstance(root, Path):
            self._history, self._bundles = History(root / _HISTORY), BundleFolder(root)
        else:
            self._history = StoreHistory(root)
            self._bundles = StoreBundles(root, self._history)

    def __str__(self) -> str:
        """Return where it is, fit for a terminal."""
        return str(self._root)

    def register(self, bundle: Path, *, who: str = "", why: str = "") -> str:
        """Take a bundle in (the folder is copied) and return `name@version`. The first model becomes champion.

        A bundle that is already here is not taken in again. Its signature is verified when it is loaded, not here.

        Raises:
            BundleRejected: Its manifest cannot be read.
        """
        try:
            content = (bundle / MANIFEST).read_bytes()
        except OSError as error:
            raise BundleRejected(f"{bundle} holds no {MANIFEST}; give the folder of a bundle") from error
        name = decode_manifest(content).name
        if not _NAME.fullmatch(name):
            raise BundleRejected(f"the bundle's name {name!r} must be lower-case letters, digits, dots and dashes")
        reference = f"{name}@{version_of(content)}"

        def take_in(turn: Turn) -> str:
            state = turn.state
            self._bundles.take(bundle, reference)
            if reference not in registered(self.history()):
                aliases = {**state.aliases} if state.champion else {**state.aliases, CHAMPION: reference}
                self._append(turn, "registered", reference, msgspec.structs.replace(state, aliases=aliases), who, why)
            return reference

        return self._change(None, take_in)

    def resolve(self, reference: str) -> Path:
        """Return the folder of a bundle; of one in a store, the local folder that holds it.

        Args:
            reference: `champion`, `challenger`, `previous`, `name@version`, or the beginning of exactly one version.

        Raises:
            NoChampion: `champion` of a registry without one.
            ModelError: There is no such model, or more than one.
        """
        return self._bundles.path(self.reference(reference))

    def reference(self, reference: str) -> str:
        """Return the `name@version` that a reference stands for; errors as `resolve`."""
        return self._reference(reference, self.state())

    def beside(self, reference: str) -> Documents:
        """Return what is known about a bundle but not in its digest, such as verdicts; errors as `resolve`."""
        return self._bundles.beside(self.reference(reference))

    def promote(
        self, reference: str, *, expected: State | None = None, who: str = "", why: str = "", is_forced: bool = False
    ) -> str:  # fmt: skip
        """Make a model champion, the champion so far `previous`; return its `name@version`. Workers take it at their next poll.

        A trial of this model ends with it; one of another model goes on.

        Raises:
            ModelError: There is no such model, or the state is no longer the expected one.
        """

        def to_champion(turn: Turn) -> str:
            wanted = self._reference(reference, turn.state)
            if wanted != turn.state.champion:
                self._append(turn, "promoted", wanted, turn.state.promoted(wanted), who, why, is_forced=is_forced)
            return wanted

        return self._change(expected, to_champion)

    def rollback(self, *, expected: State | None = None, who: str = "", why: str = "") -> str:
        """Make the champion before champion again; return its `name@version`. A second rollback undoes the first.

        Raises:
            ModelError: There was none before, or the state is no longer the expected one.
        """

        def back(turn: Turn) -> str:
            target = turn.state.rollback_target
            self._append(turn, "rolled_back", target, turn.state.promoted(target), who, why)
            return target

        return self._change(expected, back)

    def shadow(self, reference: str, *, expected: State | None = None, who: str = "", why: str = "") -> Rollout:
        """Let a model score all traffic beside the champion, without deciding anything.

        Raises:
            ModelError: There is no such model or no champion, it is the champion, another one is on trial, or the state is
                no longer the expected one.
        """
        return self._start("shadow", reference, 0.0, expected, who, why)

    def canary(self, reference: str, percent: float, *, expected: State | None = None, who: str = "", why: str = "") -> Rollout:
        """Let a model decide for `percent` of the cards, in (0, 100); errors as `shadow`.

        A larger percentage adds cards and takes none away.
        """
        if not 0 < percent < 100:
            raise ModelError(f"the share of a canary is {percent} percent; give more than 0 and less than 100")
        return self._start("canary", reference, percent, expected, who, why)

    def end_rollout(self, *, expected: State | None = None, who: str = "", why: str = "") -> str:
        """End the trial; the champion decides everything again. Return the model that was on trial.

        Raises:
            ModelError: None is on trial, or the state is no longer the expected one.
        """

        def end(turn: Turn) -> str:
            if turn.state.rollout is None:
                raise ModelError("no model is on trial: there is nothing to end")
            self._append(turn, "ended", turn.state.rollout.model, turn.state.ended(), who, why)
            return turn.state.rollout.model

        return self._change(expected, end)

    def set_policy(self, version: str, *, model: str = "", expected: State | None = None, who: str = "", why: str = "") -> None:
        """Make a policy the live one; see `models.policy_store`.

        Args:
            version: Of a stored policy; empty = each bundle's own again.
            model: That its thresholds are for.
            expected: See the class.
            who: See the class.
            why: See the class.

        Raises:
            ModelError: The state is no longer the expected one.
        """

        def put(turn: Turn) -> None:
            if version != turn.state.policy:
                self._append(turn, "policy", model, msgspec.structs.replace(turn.state, policy=version), who, why)

        self._change(expected, put)

    def collectable(self, keep: int = KEPT) -> list[str]:
        """Return the models that `collect` would take out, oldest first."""
        state, now_ms = self.state(), self._clock_ms()
        on_trial = {state.rollout.model} if state.rollout else set()
        used = {*state.aliases.values(), *on_trial}
        here = set(self._bundles.names()) - used
        free = [(model, time_ms) for model, time_ms in registered(self.history()).items() if model in here]
        return [model for model, time_ms in free[: max(len(free) - keep, 0)] if time_ms < now_ms - _YOUNG_MS]

    def collect(self, keep: int = KEPT, *, expected: State | None = None, who: str = "", why: str = "") -> list[str]:
        """Take old models out and return them; `beside` keeps their manifests and cards.

        Never one with an alias or on trial, never one registered less than a day ago.

        Args:
            keep: So many of the newest other models stay.
            expected: See the class.
            who: See the class.
            why: See the class.

        Raises:
            ModelError: The state is no longer the expected one.
        """
        found: list[str] = []

        def take_out(turn: Turn) -> None:
            for model in self.collectable(keep):
                self._bundles.remove(model)
                self._append(turn, "collected", model, turn.state, who, why)
                found.append(model)
            self._bundles.sweep()

        self._change(expected, take_out)
        return found

    def state(self) -> State:
        """Return what is in force, from one read."""
        return self._history.state()

    def stamp(self) -> tuple[int, ...]:
        """Return numbers that differ whenever `state` may differ; far cheaper than `state`."""
        return self._history.stamp()

    def aliases(self) -> dict[str, str]:
        """Return alias -> `name@version`; empty for an empty registry."""
        return dict(self.state().aliases)

    def entries(self) -> list[Entry]:
        """Return every model that is still here, oldest first; one whose manifest cannot be read is left out."""
        aliases, found = self.aliases(), []
        for reference, time_ms in registered(self.history()).items():
            manifest = self._bundles.manifest(reference)
            if manifest is not None:
                names = tuple(alias for alias, model in aliases.items() if model == reference)
                found.append(Entry(reference, names, time_ms, manifest))
        return found

    def names(self) -> list[str]:
        """Return the `name@version` of every bundle that is here, whether or not it can be read."""
        return self._bundles.names()

    def history(self) -> list[Event]:
        """Return everything that happened, oldest first; a line cut short by a crash is left out."""
        return self._history.events()

    def _start(self, mode: EventName, reference: str, percent: float, expected: State | None, who: str, why: str) -> Rollout:
        def start(turn: Turn) -> Rollout:
            state = turn.state
            wanted, running = self._reference(reference, state), state.rollout
            if state.champion is None:
                raise NoChampion(f"the registry {self} has no champion to compare {wanted} with; promote one first")
            if wanted == state.champion:
                raise ModelError(f"{wanted} is the champion: it cannot be on trial beside itself")
            if running is not None and running.model != wanted:
                raise ModelError(f"{running.model} is on trial ({running.mode}); end that first: weir models end")
            goes_on = running is not None and running.mode == mode
            started_ms = running.started_ms if running is not None and goes_on else self._clock_ms()
            rollout = Rollout("canary" if mode == "canary" else "shadow", wanted, percent, started_ms)
            if rollout != running:
                self._append(turn, mode, wanted, state.on_trial(rollout), who, why)
            return rollout

        return self._change(expected, start)

    def _reference(self, reference: str, state: State) -> str:
        if reference in state.aliases:
            return state.aliases[reference]
        if reference == CHAMPION:
            raise NoChampion(f"the registry {self} has no champion; train one: weir train HISTORY")
        return find(reference, self._bundles.names())

    def _append(self, turn: Turn, event: EventName, model: str, state: State, who: str, why: str, *, is_forced: bool = False) -> None:
        turn.append(Event(self._clock_ms(), event, model, state.aliases, who, why, state.rollout, state.policy, is_forced))

    def _change(self, expected: State | None, change: Callable[[Turn], Result]) -> Result:
        """Return what `change` makes of the state in force, which is the expected one; again if it was overtaken."""
        self._bundles.make()
        for _ in range(_MOST_TURNS):
            with self._history.turn() as turn:
                state = turn.state
                if expected is not None and state != expected:
                    raise ModelError(
                        f"somebody else changed the registry (champion {state.champion}, on trial {state.aliases.get(CHALLENGER)}, "
                        f"policy {state.policy or 'of the bundle'}): look again with `weir models list`"
                    )
                try:
                    return change(turn)
                except Overtaken:
                    continue
        raise ModelError(f"the registry {self} is changed by others all the time; try again")
