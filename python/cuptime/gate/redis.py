"""The gate that several processes share: counters in Redis, one atomic script per operation over a batch.

Redis is a cache here and may forget. What it forgot must never be sold twice, so every call proves that the counters
are the ones this client built or joined:

- each script compares the caller's *epoch*, the number of the last rebuild, so a client from before a rebuild is
  refused;
- scripts are loaded by `reset` alone. A server that restarted or took over as a replica has none, whatever its disk
  remembers, and the call fails; then storage must build the gate again.

Both end in an error that names what to do, and nothing is reserved by guessing.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from importlib.resources import files
from typing import Any, Final, Literal

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as LinkError
from redis.exceptions import NoScriptError, RedisError, ResponseError

from cuptime.domain.errors import CuptimeError, Reason
from cuptime.domain.limits import (
    GATE_BATCH_MAX,
    GATE_CONNECTIONS_MAX,
    GATE_RESERVATIONS_MAX,
    GATE_TIMEOUT_MS,
    GATE_TOMBSTONE_MS,
)
from cuptime.domain.ports import Reservation
from cuptime.gate.needs import Wanted, checked_limits, reservation_of, wanted

Operation = Literal["begin", "set_limits", "stand", "reserve", "commit", "release", "expire", "free"]
_OPERATIONS: Final[tuple[Operation, ...]] = (
    "begin",
    "set_limits",
    "stand",
    "reserve",
    "commit",
    "release",
    "expire",
    "free",
)
_KEYS: Final = ("epoch", "limits", "taken", "held", "due", "stones", "ages")
_STONES_MAX: Final = 1_000_000


def _scripts() -> dict[Operation, str]:
    folder = files(__package__).joinpath("lua")
    texts = {name: folder.joinpath(f"{name}.lua").read_text(encoding="utf-8") for name in _OPERATIONS}
    prelude = folder.joinpath("prelude.lua").read_text(encoding="utf-8")
    return {name: text if name == "begin" else prelude + text for name, text in texts.items()}


_SCRIPTS: Final = _scripts()
_DIGESTS: Final = {
    name: hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest() for name, text in _SCRIPTS.items()
}


class RedisGate:
    """Counters of one park in the Redis at `url`. `reset` builds them and gives this client its epoch; `join` takes the
    epoch of another client's `reset`."""

    def __init__(self, url: str, park: str = "main") -> None:
        self._redis: redis.asyncio.Redis = redis.asyncio.Redis.from_url(
            url,
            decode_responses=True,
            socket_timeout=GATE_TIMEOUT_MS / 1_000,
            socket_connect_timeout=GATE_TIMEOUT_MS / 1_000,
            # Once more on a link that the server closed meanwhile. Not after a timeout: a decision cannot wait twice.
            retry=Retry(NoBackoff(), 1, supported_errors=(LinkError,)),
        )
        # In turn, so that a burst of callers waits here; the client's own pool answers it with an error.
        self._turns = asyncio.Semaphore(GATE_CONNECTIONS_MAX)
        self._keys = [f"{{cuptime:{park}}}:{key}" for key in _KEYS]
        self._epoch = ""
        self.park = park

    @property
    def epoch(self) -> str:
        """The number of the rebuild that this client's calls belong to, "" before `reset` or `join`."""
        return self._epoch

    async def open(self) -> None:
        """Raises CuptimeError(GATE_UNAVAILABLE) when the server does not answer."""
        try:
            answer: Any = self._redis.ping()
            await answer
        except (RedisError, OSError) as error:
            raise _unreachable(error) from error

    async def close(self) -> None:
        await self._redis.aclose()

    def join(self, epoch: str) -> None:
        """Uses the counters that another client built under this epoch."""
        self._epoch = epoch

    async def reset(
        self, limits: Sequence[tuple[str, int]], standing: Sequence[Reservation], now_ms: int
    ) -> None:
        """See :meth:`cuptime.domain.ports.Gate.reset`. From its first step every other client is refused as stale, and
        this one answers only when the counters are whole. Raises EPOCH_STALE when another rebuild began meanwhile."""
        pairs = checked_limits(limits)
        reservations = [wanted(held) for held in standing]
        self._epoch = ""
        try:
            for text in _SCRIPTS.values():
                await self._redis.script_load(text)
            epoch = str(await self._call("begin", [now_ms]))
        except (RedisError, OSError) as error:
            raise _unreachable(error) from error
        for at in range(0, len(pairs), GATE_BATCH_MAX):
            flat = [value for pair in pairs[at : at + GATE_BATCH_MAX] for value in pair]
            await self._run("set_limits", epoch, flat)
        for at in range(0, len(reservations), GATE_BATCH_MAX):
            await self._run("stand", epoch, [now_ms, *_flat(reservations[at : at + GATE_BATCH_MAX])])
        self._epoch = epoch

    async def set_limits(self, limits: Sequence[tuple[str, int]]) -> None:
        flat = [value for pair in checked_limits(limits) for value in pair]
        await self._run("set_limits", self._epoch, flat)

    async def reserve(self, reservations: Sequence[Reservation], now_ms: int, hold_ms: int) -> list[str]:
        flat = _flat([wanted(held) for held in reservations])
        answer = await self._run("reserve", self._epoch, [now_ms, hold_ms, GATE_RESERVATIONS_MAX, *flat])
        return [str(refusal) for refusal in answer]

    async def stand(self, standing: Sequence[Reservation], now_ms: int) -> None:
        reservations = [wanted(held) for held in standing]
        for at in range(0, len(reservations), GATE_BATCH_MAX):
            flat = _flat(reservations[at : at + GATE_BATCH_MAX])
            await self._run("stand", self._epoch, [now_ms, *flat])

    async def commit(self, order_ids: Sequence[int]) -> list[int]:
        return [int(order_id) for order_id in await self._run("commit", self._epoch, [*order_ids])]

    async def release(self, order_ids: Sequence[int], now_ms: int) -> list[Reservation]:
        bodies = await self._run("release", self._epoch, [now_ms, _STONES_MAX, *order_ids])
        return [reservation_of(body) for body in bodies]

    async def expire(self, now_ms: int) -> list[tuple[str, int]]:
        freed: dict[str, int] = {}
        arguments = [now_ms, now_ms - GATE_TOMBSTONE_MS, _STONES_MAX, GATE_BATCH_MAX]
        more = 1
        while more:  # Each round takes GATE_BATCH_MAX of what is due, so it ends with what was due.
            more, *pairs = await self._run("expire", self._epoch, arguments)
            for key, amount in zip(pairs[::2], pairs[1::2]):
                freed[key] = freed.get(key, 0) + int(amount)
        return sorted(freed.items())

    async def free(self, keys: Sequence[str]) -> list[int]:
        return [int(amount) for amount in await self._run("free", self._epoch, [*keys])]

    async def _run(self, operation: Operation, epoch: str, arguments: list[Any]) -> Any:
        """One script call. Raises EPOCH_STALE, or GATE_UNAVAILABLE with metadata `rebuild` = "yes" when the counters
        are gone and only a `reset` helps."""
        if not epoch:
            raise _lost("no rebuild has made this client's counters")
        try:
            return await self._call(operation, [epoch, *arguments])
        except NoScriptError as error:
            raise _lost("the server was started again or replaced") from error
        except ResponseError as error:
            said = str(error)
            if said.startswith("GATELOST"):
                raise _lost("the server was emptied") from error
            if said.startswith("GATESTALE"):
                raise _stale(epoch, said.split()[1]) from error
            raise
        except (RedisError, OSError) as error:
            raise _unreachable(error) from error

    async def _call(self, operation: Operation, arguments: list[Any]) -> Any:
        keys: list[Any] = self._keys
        async with self._turns:
            answer: Any = self._redis.evalsha(_DIGESTS[operation], len(keys), *keys, *arguments)
            return await answer


def _flat(reservations: list[Wanted]) -> list[Any]:
    flat: list[Any] = []
    for order_id, body, needs in reservations:
        flat += (order_id, body, len(needs))
        for need in needs:
            flat += need
    return flat


def _unreachable(error: Exception) -> CuptimeError:
    said = f"{type(error).__name__}: {error}"
    return CuptimeError(
        Reason.GATE_UNAVAILABLE, f"the gate's Redis does not answer ({said})", metadata={"redis": said}
    )


def _lost(why: str) -> CuptimeError:
    return CuptimeError(
        Reason.GATE_UNAVAILABLE,
        f"the gate's counters must be built again from storage: {why}",
        metadata={"rebuild": "yes"},
    )


def _stale(epoch: str, current: str) -> CuptimeError:
    return CuptimeError(
        Reason.EPOCH_STALE,
        f"the gate was built again (epoch {current}); this client's counters are of epoch {epoch}",
        metadata={"epoch": epoch, "stored": current},
    )
