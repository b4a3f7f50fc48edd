"""A request_id is answered once: a repeat gets the first answer, durably, for 24 hours.

The first answer is committed in the same transaction as what the request did, so there is no moment in which one is
known without the other. A request that is new (nearly all are) costs no extra read: storage itself refuses the second
commit, and only then is the first answer looked up.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable
from typing import Final

from cuptime.domain.clock import Clock
from cuptime.domain.errors import CuptimeError, Reason, invalid
from cuptime.domain.limits import REQUEST_ID_CHARS_MAX, REQUEST_ID_WINDOW_MS
from cuptime.domain.ports import Committed, Storage
from cuptime.domain.turns import Turns, to_the_end
from cuptime.domain.values import Fence, RequestRow
from cuptime.domain.writes import ForgetRequests, RememberRequest, Write

_FORM: Final = re.compile(rf"[\x21-\x7e]{{1,{REQUEST_ID_CHARS_MAX}}}")

Made = tuple[list[Write], bytes]
"""What a request writes, and its answer."""


def check_request_id(request_id: str, field: str = "request_id") -> None:
    """Raises FIELD_INVALID unless it is empty or 1 to 64 visible ASCII characters."""
    if request_id and not _FORM.fullmatch(request_id):
        raise invalid(field, f"1 to {REQUEST_ID_CHARS_MAX} visible ASCII characters", request_id)


def fingerprint_of(*parts: object) -> int:
    """A signed 64-bit hash of a request's fields: tells a repeat from a reuse of its request_id."""
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        encoded = part if isinstance(part, bytes) else repr(part).encode()
        digest.update(len(encoded).to_bytes(8, "little"))
        digest.update(encoded)
    return int.from_bytes(digest.digest(), "little", signed=True)


class Requests:
    """Answers each request_id once. Share one instance in the process: it also makes concurrent repeats wait for the
    first."""

    def __init__(self, storage: Storage, fence: Fence, clock: Clock) -> None:
        self._storage = storage
        self._fence = fence
        self._clock = clock
        self._turns = Turns()

    async def once(
        self,
        request_id: str,
        method: str,
        fingerprint: int,
        make: Callable[[], Awaitable[Made]],
        after: Callable[[Committed], None] | None = None,
    ) -> bytes:
        """Commits what `make` gives and returns its answer; for a repeat, returns the first answer and changes nothing.

        `make` has no effects of its own. `after` is called with the results of make's writes, only when this very call
        committed them, and even when the caller was cancelled meanwhile. An empty `request_id` is never a repeat.
        Raises REQUEST_ID_REUSED when the id was used for another method or fingerprint, and what make or commit raise:
        also when this call's commit was kept although it failed, because `after` was not called. The next repeat has
        the answer then.
        """
        if not request_id:
            writes, answer = await make()
            await to_the_end(self._commit(writes, 0, after))
            return answer
        check_request_id(request_id)
        async with self._turns.turn(request_id):
            row: RequestRow | None = None
            for _ in range(2):
                try:
                    writes, answer = await make()
                    now_ms = self._clock.now_ms()
                    row = RequestRow(request_id, method, fingerprint, answer, now_ms + REQUEST_ID_WINDOW_MS)
                    # First, so that a repeat is refused as such and not for what the first one changed.
                    await to_the_end(self._commit([RememberRequest(row), *writes], 1, after))
                    return answer
                except CuptimeError as refusal:
                    if not await self._repeated(request_id, method, fingerprint, refusal):
                        continue
                    first = await self._storage.request(request_id)
                    if first is None or (first == row and refusal.reason is not Reason.REQUEST_ID_REUSED):
                        raise
                    return first.response
            raise CuptimeError(Reason.REQUEST_ID_REUSED, field="request_id")

    async def _commit(self, writes: list[Write], own: int, after: Callable[[Committed], None] | None) -> None:
        if not writes:
            return
        committed = await self._storage.commit(self._fence, writes)
        if after is not None:
            after(Committed(committed.results[own:], committed.first_sequence))

    async def _repeated(self, request_id: str, method: str, fingerprint: int, refusal: CuptimeError) -> bool:
        """True when there is a first answer to give; False when an expired one was cleared away, so try again. Raises
        the refusal when it has nothing to do with a repeat."""
        first = await self._storage.request(request_id)
        if first is None:
            raise refusal
        now_ms = self._clock.now_ms()
        if first.expires_ms <= now_ms:
            if refusal.reason is not Reason.REQUEST_ID_REUSED:
                raise refusal
            await self._storage.commit(
                self._fence, [ForgetRequests(before_ms=now_ms + 1, refusals_before_ms=0)]
            )
            return False
        if (first.method, first.fingerprint) != (method, fingerprint):
            raise CuptimeError(
                Reason.REQUEST_ID_REUSED, field="request_id", metadata={"first_method": first.method}
            )
        return True
