"""The rule book: which rule set is live, under which revision, and what it did.

A publication is checked whole, committed, and only then live: the snapshot is replaced by one assignment, so whoever
holds the one before goes on with it to the end of its batch. A revision that cannot be compiled is never live.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from cuptime.domain.clock import Clock
from cuptime.domain.errors import CuptimeError, Reason, invalid
from cuptime.domain.limits import RULE_REVISIONS_KEPT_MAX
from cuptime.domain.ports import Committed, Metrics, Storage
from cuptime.domain.requests import Made, Requests, fingerprint_of
from cuptime.domain.turns import to_the_end
from cuptime.domain.values import Fence, RuleRevisionRow
from cuptime.domain.writes import InsertRuleRevision
from cuptime.rules.compiled import Built, CompiledRules, RuleTools, build
from cuptime.rules.diagnostic import Diagnostic, summary
from cuptime.rules.standing import Attempt, Origin, Standing

COMPILED_KEPT_MAX: Final = 16
"""Older revisions kept compiled, for explanations."""
NOTE_CHARS_MAX: Final = 1_000
RECOVER_TRIES_MAX: Final = 10
"""Older revisions tried at start when the active one does not compile any more."""

_log = logging.getLogger(__name__)


class Snapshot(Struct, frozen=True):
    """A rule set and its revision; revision 0 has no rules."""

    rules: CompiledRules | None
    revision: int


class _Coming(Struct, frozen=True):
    """From where rules come, and since when on the monotonic clock."""

    origin: Origin
    source: str
    began_ms: int


class RulesInvalid(CuptimeError):
    """RULES_INVALID with every fault."""

    def __init__(self, faults: Sequence[Diagnostic]) -> None:
        metadata = {"count": str(len(faults)), "first": str(faults[0]) if faults else ""}
        super().__init__(Reason.RULES_INVALID, summary(faults), field="source", metadata=metadata)
        self.diagnostics = tuple(faults)


class RuleBook:
    """Validate, publish, get, list, roll back; the live snapshot; counters by rule."""

    def __init__(
        self,
        storage: Storage,
        fence: Fence,
        clock: Clock,
        requests: Requests,
        tools: RuleTools,
        metrics: Metrics,
    ) -> None:
        self._storage = storage
        self._fence = fence
        self._clock = clock
        self._requests = requests
        self._tools = tools
        self._metrics = metrics
        self._live = Snapshot(None, 0)
        self._live_ms = 0
        self.standing = Standing(metrics)
        self._active: RuleRevisionRow | None = None
        self._publishing = asyncio.Lock()
        # One at a time: several big files at once would take the interpreter away from the calls of a burst.
        self._building = asyncio.Lock()
        self._older: OrderedDict[int, CompiledRules | None] = OrderedDict()
        self._hits: Counter[str] = Counter()
        self._errors: Counter[str] = Counter()

    # --- for whoever judges orders --------------------------------------------------------------------------------
    def snapshot(self) -> Snapshot:
        """The live rules; hold it for one batch."""
        return self._live

    async def compiled(self, revision: int) -> CompiledRules | None:
        """The rule set of a revision, None for revision 0. Raises RULE_REVISION_NOT_FOUND."""
        if revision == self._live.revision:
            return self._live.rules
        if revision == 0:
            return None
        if revision not in self._older:
            row = await self.get(revision)
            built = await self.built([("", row.source)])
            if built.compiled is None:
                raise RulesInvalid(built.faults)
            self._older[revision] = built.compiled
            if len(self._older) > COMPILED_KEPT_MAX:
                self._older.popitem(last=False)
        self._older.move_to_end(revision)
        return self._older[revision]

    def count(
        self, evaluated: int, hits: Sequence[tuple[str, int]], errors: Sequence[tuple[str, int]]
    ) -> None:
        """Adds a batch to the counters, which go by rule id and outlive revisions."""
        for rule, times in hits:
            self._hits[rule] += times
        for rule, times in errors:
            self._errors[rule] += times
        if evaluated or hits or errors:
            self._metrics.rules(evaluated, hits, errors)

    def counters(self) -> dict[str, tuple[int, int]]:
        """(hits, errors) by rule id since the start of the process."""
        return {rule: (self._hits[rule], self._errors[rule]) for rule in sorted({*self._hits, *self._errors})}

    # --- for callers ----------------------------------------------------------------------------------------------
    async def recover(self) -> Snapshot:
        """Makes the active revision of storage live; when it does not compile any more, the newest that does."""
        active = await self._storage.rule_revision(None)
        if active is None:
            return self._live
        self._active = active
        rows = [active, *await self._storage.rule_revisions(before=active.revision, limit=RECOVER_TRIES_MAX)]
        for row in rows:
            began_ms = self._clock.monotonic_ms()
            built = await self.built([("", row.source)])
            if built.compiled is not None:
                self._make_live(built.compiled, row.revision)
                if row is active:
                    self._stands(Origin.START, "storage", built, row.revision, began_ms)
                return self._live
            _log.error("rule revision %d does not compile: %s", row.revision, summary(built.faults))
            if row is active:
                error = f"ruleRevisions/{row.revision} does not compile any more: {summary(built.faults)}"
                self.standing.bad(Origin.START, "storage", self._clock.now_ms(), error, built.faults)
        raise RulesInvalid(built.faults)

    async def validate(self, source: str) -> tuple[list[Diagnostic], int]:
        """Every fault of a rule set, and how many rules it has. Nothing is kept."""
        built = await self.built([("", source)])
        return built.faults, built.rule_count

    async def built(self, sources: Sequence[tuple[str, str]]) -> Built:
        """A rule set of (file name, YAML) pairs, checked and compiled beside the event loop."""
        async with self._building:
            return await asyncio.to_thread(build, self._tools, sources, self._live.rules)

    async def publish(
        self, source: str, note: str = "", *, request_id: str = "", validate_only: bool = False
    ) -> RuleRevisionRow:
        """Makes a rule set the live revision. Raises RulesInvalid, REQUEST_ID_REUSED, LIMIT_REACHED."""
        began_ms = self._clock.monotonic_ms()
        built = await self.built([("", source)])
        if validate_only:
            self._wanted(built, note)
            return self._row(built, note)
        with self._attempt("PublishRules"):
            self._wanted(built, note)
            coming = _Coming(Origin.CALL, "PublishRules", began_ms)
            return await to_the_end(self._publish(built, note, coming, request_id))

    async def publish_folder(self, built: Built, note: str, folder: str, began_ms: int) -> RuleRevisionRow:
        """As `publish`, for what `built` gave of a folder; the folder tells `standing` of what is bad."""
        self._wanted(built, note)
        return await to_the_end(self._publish(built, note, _Coming(Origin.FOLDER, folder, began_ms), ""))

    async def get(self, revision: int | None) -> RuleRevisionRow:
        """None is the active one. Raises RULE_REVISION_NOT_FOUND."""
        row = await self._storage.rule_revision(revision)
        if row is None:
            shown = "active" if revision is None else str(revision)
            metadata = {"revision": shown}
            raise CuptimeError(
                Reason.RULE_REVISION_NOT_FOUND, f"there is no ruleRevisions/{shown}", metadata=metadata
            )
        return row

    async def page(self, *, before: int, limit: int) -> list[RuleRevisionRow]:
        """Newest first, revisions below `before`."""
        return await self._storage.rule_revisions(before=before, limit=limit)

    async def roll_back(self, revision: int, note: str = "", *, request_id: str = "") -> RuleRevisionRow:
        """The content of an older revision, live under a new number. Raises RULE_REVISION_NOT_FOUND."""
        row = await self.get(revision)
        began_ms = self._clock.monotonic_ms()
        built = await self.built([("", row.source)])
        with self._attempt("RollBackRules"):
            self._wanted(built, note)
            note = note or f"back to revision {revision}"
            coming = _Coming(Origin.CALL, "RollBackRules", began_ms)
            return await to_the_end(self._publish(built, note, coming, request_id))

    @property
    def active(self) -> RuleRevisionRow | None:
        """The active revision; None before the first."""
        return self._active

    @property
    def live_ms(self) -> int:
        """Since when this process has had the live revision live, UTC ms; 0 without one."""
        return self._live_ms

    # --- inside ---------------------------------------------------------------------------------------------------
    def _wanted(self, built: Built, note: str) -> None:
        if built.compiled is None:
            raise RulesInvalid(built.faults)
        if len(note) > NOTE_CHARS_MAX:
            raise invalid("note", f"at most {NOTE_CHARS_MAX} characters", note)

    @contextmanager
    def _attempt(self, method: str) -> Iterator[None]:
        """A call that fails here is told by `standing`."""
        try:
            yield
        except CuptimeError as refusal:
            faults = refusal.diagnostics if isinstance(refusal, RulesInvalid) else ()
            self.standing.bad(Origin.CALL, method, self._clock.now_ms(), refusal.message, faults)
            raise

    def _make_live(self, rules: CompiledRules, revision: int) -> None:
        self._live = Snapshot(rules, revision)
        self._live_ms = self._clock.now_ms()

    def _stands(self, origin: Origin, source: str, built: Built, revision: int, began_ms: int) -> None:
        self.standing.good(
            Attempt(
                origin,
                source,
                self._clock.now_ms(),
                revision=revision,
                rule_count=built.rule_count,
                reused_count=built.compiled.reused if built.compiled is not None else 0,
                took_ms=self._clock.monotonic_ms() - began_ms,
            )
        )

    def _row(self, built: Built, note: str) -> RuleRevisionRow:
        if built.compiled is None:
            raise RulesInvalid(built.faults)
        revision = (self._active.revision if self._active is not None else 0) + 1
        if revision > RULE_REVISIONS_KEPT_MAX:
            raise CuptimeError(Reason.LIMIT_REACHED, f"{RULE_REVISIONS_KEPT_MAX} rule revisions are kept")
        return RuleRevisionRow(
            revision,
            built.compiled.digest,
            built.source,
            note,
            self._clock.now_ms(),
            built.rule_count,
            active=True,
        )

    async def _publish(self, built: Built, note: str, coming: _Coming, request_id: str) -> RuleRevisionRow:
        """The answer kept for repeats is the revision's number."""
        # What a folder publishes has no request id, so the method is never its path.
        method = coming.source if coming.origin is Origin.CALL else "PublishRules"

        async def make() -> Made:
            row = self._row(built, note)
            made[:] = [row]
            return [InsertRuleRevision(row)], str(row.revision).encode()

        made: list[RuleRevisionRow] = []
        committed: list[Committed] = []
        async with self._publishing:
            fingerprint = fingerprint_of(built.source, note)
            answer = await self._requests.once(request_id, method, fingerprint, make, committed.append)
            if not committed:
                # As the first answer said it, whatever was published since.
                return replace(await self.get(int(answer)), active=True)
            row = made[0]
            if self._live.revision:
                self._older[self._live.revision] = self._live.rules
                while len(self._older) > COMPILED_KEPT_MAX:
                    self._older.popitem(last=False)
            if built.compiled is not None:
                self._make_live(built.compiled, row.revision)
            self._active = replace(row, active=True)
            self._stands(coming.origin, coming.source, built, row.revision, coming.began_ms)
            _log.info(
                "rule revision %d is live: %d rules, digest %s", row.revision, row.rule_count, row.digest
            )
            return row
