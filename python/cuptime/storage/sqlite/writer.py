"""The one thread that writes: group commit.

Units (tuples of writes) wait in a bounded queue; the thread takes all that is there, puts it into one transaction,
syncs once, and answers everybody with one call into the event loop. Under load the queue fills while the disk syncs, so
batches grow by themselves and no timer is needed.

Each unit stands alone. Most cannot be refused half way and need nothing for that. One that can gets a savepoint. What
should never happen (a row that the schema refuses, a fault in our code) has the whole transaction rolled back and run
again with a savepoint around every unit, so that only the guilty one is refused.

When the disk fails nothing of the transaction is kept and every unit is told so. One case needs care: the log was
written, and syncing it failed. SQLite then takes the transaction back in memory, but its frames are in the file, whole,
and a restart would read them and bring back what was refused. So before anybody is answered a tiny commit is put over
them (`void_commit`). If not even that can be written, the answer says that the outcome is unknown.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import threading
from collections.abc import Callable
from typing import Any, Final

import apsw
from msgspec import Struct

from cuptime.domain.clock import Clock, stopwatch_s
from cuptime.domain.errors import CuptimeError, Reason
from cuptime.domain.limits import (
    COMMIT_ROWS_MAX,
    COMMIT_UNITS_MAX,
    WAL_PAGES_BEFORE_CHECKPOINT,
    WRITER_PENDING_UNITS_MAX,
)
from cuptime.domain.ports import Committed, Metrics
from cuptime.domain.values import Fence
from cuptime.domain.writes import Write
from cuptime.storage.sqlite.apply import MANY_STATEMENTS, ONE_STATEMENT, Applier
from cuptime.storage.sqlite.connection import NOTHING_KEPT, OUTCOME_UNKNOWN, is_engine_failure, unavailable
from cuptime.storage.sqlite.guard import FileWatch
from cuptime.storage.sqlite.statements import sql

_LOG: Final = logging.getLogger(__name__)
_MAY_REFUSE: Final = frozenset(ONE_STATEMENT + MANY_STATEMENTS)
_MAY_REFUSE_HALF_WAY: Final = frozenset(MANY_STATEMENTS)


class Claim(Struct, frozen=True):
    """Takes a shard; see :meth:`cuptime.domain.ports.Storage.claim`."""

    shard_id: int
    owner: str
    epoch: int | None


class Settle(Struct, frozen=True):
    """Writes over whatever a failed commit may have left; see :meth:`cuptime.domain.ports.Storage.settle`."""


class Unit(Struct, frozen=True, eq=False):
    """What one caller wants committed, and where the answer goes: a Committed, or a Fence for a claim."""

    work: tuple[Write, ...] | Claim | Settle
    fence: Fence
    rows: int
    future: asyncio.Future[Committed | Fence]


Answer = Committed | Fence | Exception


def rows_of(write: Write) -> int:
    """How many rows a write has, about."""
    rows = getattr(write, "rows", None) or getattr(write, "tasks", None)
    return 1 if rows is None else len(rows)


def needs_savepoint(writes: tuple[Write, ...]) -> bool:
    """Can the unit be refused when some of it is in the transaction already?"""
    return type(writes[0]) in _MAY_REFUSE_HALF_WAY or any(type(write) in _MAY_REFUSE for write in writes[1:])


class _RunAgain(Exception):
    """A unit without a savepoint failed in a way that should not happen."""


class Writer:
    """Owns the writing connection between `start` and `stop`."""

    def __init__(
        self,
        connection: apsw.Connection,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        metrics: Metrics | None,
        watch: FileWatch,
        lost: Callable[[], None],
    ) -> None:
        """`lost` is called in the loop, once, when the file was deleted or replaced."""
        self._connection = connection
        self._cursor = connection.cursor()
        self._applier = Applier(connection)
        last: list[Any] = connection.execute(sql("last_decision")).fetchall()
        self._applier.next_sequence = last[0][0] + 1
        self._epochs: dict[int, int] = {}
        self._loop = loop
        self._clock = clock
        self._metrics = metrics
        self._queue: queue.SimpleQueue[Unit | None] = queue.SimpleQueue()
        self._carried: Unit | None = None
        self._stopping = False
        self._want_room: list[asyncio.Future[None]] = []
        """Of the event loop: resolved after each batch."""
        self._wal_pages = 0
        self._watch = watch
        self._lost = lost
        self._gone = ""
        """The file that was deleted or replaced under us: nothing is written any more."""
        self._thread = threading.Thread(target=self._run, name="cuptime-writer", daemon=True)
        connection.set_wal_hook(self._note_wal)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Commits what waits, then ends the thread. Blocks until then."""
        self._stopping = True
        self._queue.put(None)
        self._thread.join()

    def pending(self) -> int:
        """Units that wait for a transaction."""
        return self._queue.qsize()

    def put(self, unit: Unit) -> None:
        """Raises CuptimeError(OVERLOADED) when too many wait already, STORAGE_UNAVAILABLE after `stop`."""
        if self._stopping:
            raise CuptimeError(Reason.STORAGE_UNAVAILABLE, "storage is closed")
        waiting = self._queue.qsize()
        if waiting >= WRITER_PENDING_UNITS_MAX:
            raise CuptimeError(
                Reason.OVERLOADED,
                f"{waiting} units wait for their commit",
                metadata={"queue": "storage.writer", "limit": str(WRITER_PENDING_UNITS_MAX)},
            )
        self._queue.put(unit)

    async def room(self) -> None:
        """Returns when `put` would take a unit. In the event loop."""
        while self._queue.qsize() >= WRITER_PENDING_UNITS_MAX and not self._stopping:
            # The thread answers a batch at least: then it is looked at again.
            waiting: asyncio.Future[None] = self._loop.create_future()
            self._want_room.append(waiting)
            await waiting

    # --- in the thread ----------------------------------------------------------------------------------------------
    def _run(self) -> None:
        while batch := self._take():
            started_s = stopwatch_s()
            try:
                answers = self._commit(batch)
            except Exception as error:
                _LOG.exception("the writer failed a transaction of %d units", len(batch))
                answers = [CuptimeError(Reason.INTERNAL, f"{type(error).__name__}: {error}") for _ in batch]
            taken_s = stopwatch_s() - started_s
            self._answer(batch, answers)
            if self._metrics is not None:
                with contextlib.suppress(Exception):
                    self._metrics.commit(len(batch), sum(unit.rows for unit in batch), taken_s)
            self._checkpoint()

    def _take(self) -> list[Unit]:
        """The next batch: waits for a first unit, then takes what is there, up to the limits. Empty means stop."""
        unit = self._carried or self._queue.get()
        self._carried = None
        if unit is None:
            return []
        batch = [unit]
        rows = unit.rows
        while len(batch) < COMMIT_UNITS_MAX:
            try:
                unit = self._queue.get_nowait()
            except queue.Empty:
                break
            if unit is None:
                self._queue.put(None)
                break
            if rows + unit.rows > COMMIT_ROWS_MAX:
                self._carried = unit
                break
            batch.append(unit)
            rows += unit.rows
        return batch

    def _answer(self, batch: list[Unit], answers: list[Answer]) -> None:
        with contextlib.suppress(RuntimeError):  # The loop is closed: nobody waits any more.
            self._loop.call_soon_threadsafe(self._resolve, batch, answers)

    def _resolve(self, batch: list[Unit], answers: list[Answer]) -> None:
        """In the event loop."""
        _resolve(batch, answers)
        wanting, self._want_room = self._want_room, []
        for waiting in wanting:
            if not waiting.done():
                waiting.set_result(None)

    def _commit(self, batch: list[Unit]) -> list[Answer]:
        """Nobody is told of a commit into a file that is not there any more."""
        if not self._gone:
            answers = self._commit_file(batch)
            self._gone = self._watch.missing()
            if not self._gone:
                return answers
            _LOG.critical(
                "%s was deleted or replaced under the running server: nothing is written any more; stop it, restore "
                "the files, and start it again",
                self._gone,
            )
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._lost)
            return [self._file_gone(OUTCOME_UNKNOWN) for _ in batch]
        return [self._file_gone(NOTHING_KEPT) for _ in batch]

    def _file_gone(self, outcome: str) -> CuptimeError:
        return CuptimeError(
            Reason.STORAGE_UNAVAILABLE,
            f"{self._gone} was deleted or replaced under the running server; nothing is written any more",
            metadata={"file": self._gone, "outcome": outcome},
        )

    def _commit_file(self, batch: list[Unit]) -> list[Answer]:
        sequence = self._applier.next_sequence
        try:
            try:
                return self._transaction(batch, careful=False)
            except _RunAgain:
                self._roll_back(sequence)
                return self._transaction(batch, careful=True)
        except Exception as error:
            self._roll_back(sequence)
            if not is_engine_failure(error):
                raise
            _LOG.error("a transaction of %d units failed: %s: %s", len(batch), type(error).__name__, error)
            return [unavailable(error, "commit") for _ in batch]

    def _transaction(self, batch: list[Unit], careful: bool) -> list[Answer]:
        sequence = self._applier.next_sequence
        self._cursor.execute("BEGIN IMMEDIATE")
        self._epochs.clear()
        answers = [self._run_unit(unit, careful) for unit in batch]
        try:
            self._cursor.execute("COMMIT")
        except apsw.Error as error:
            self._roll_back(sequence)
            outcome = self._void(error)
            return [unavailable(error, "commit", outcome) for _ in batch]
        return answers

    def _void(self, failure: apsw.Error) -> str:
        """Overwrites what a failed COMMIT may have left in the log; whether it is now certain that nothing was kept."""
        _LOG.error("COMMIT failed: %s: %s", type(failure).__name__, failure)
        try:
            self._cursor.execute("BEGIN IMMEDIATE")
            self._cursor.execute(sql("void_commit"))
            self._cursor.execute("COMMIT")
        except apsw.Error as error:
            _LOG.error("the failed COMMIT could not be overwritten: %s: %s", type(error).__name__, error)
            self._roll_back(self._applier.next_sequence)
            return OUTCOME_UNKNOWN
        return NOTHING_KEPT

    def _run_unit(self, unit: Unit, careful: bool) -> Answer:
        if isinstance(unit.work, Claim):
            return self._claim(unit.work)
        if isinstance(unit.work, Settle):
            self._cursor.execute(sql("void_commit"))
            return Committed((), 0)
        stale = self._stale(unit.fence)
        if stale is not None:
            return stale
        if not unit.work:
            return Committed((), 0)
        sequence = self._applier.next_sequence
        savepoint = careful or needs_savepoint(unit.work)
        if savepoint:
            self._cursor.execute("SAVEPOINT unit")
        try:
            results = tuple([self._applier.apply(write, unit.fence) for write in unit.work])
        except CuptimeError as refusal:
            self._take_back(savepoint, sequence)
            return refusal
        except Exception as error:
            if is_engine_failure(error):
                raise
            if not savepoint:
                raise _RunAgain from error
            _LOG.exception("a unit of %s failed", [type(write).__name__ for write in unit.work])
            self._take_back(savepoint, sequence)
            return CuptimeError(Reason.INTERNAL, f"{type(error).__name__}: {error}")
        if savepoint:
            self._cursor.execute("RELEASE unit")
        return Committed(results, sequence if self._applier.next_sequence > sequence else 0)

    def _take_back(self, savepoint: bool, sequence: int) -> None:
        self._applier.next_sequence = sequence
        if savepoint:
            self._cursor.execute("ROLLBACK TO unit")
            self._cursor.execute("RELEASE unit")

    def _stale(self, fence: Fence) -> CuptimeError | None:
        """The fence, against the shard's row as this transaction sees it."""
        epoch = self._epochs.get(fence.shard_id)
        if epoch is None:
            epoch = self._epochs[fence.shard_id] = self._owner(fence.shard_id)[0]
        # 0 is «nobody ever had it», which is no epoch to write under.
        return None if epoch == fence.epoch > 0 else stale_epoch(fence, epoch)

    def _owner(self, shard_id: int) -> tuple[int, str]:
        """Epoch and owner of a shard; (0, "") when nobody ever had it."""
        rows: list[Any] = self._cursor.execute(sql("shard_epoch"), (shard_id,)).fetchall()
        return rows[0] if rows else (0, "")

    def _claim(self, claim: Claim) -> Answer:
        stored, owner = self._owner(claim.shard_id)
        epoch = stored + 1 if claim.epoch is None else claim.epoch
        if epoch < stored or (epoch == stored and owner != claim.owner):
            return stale_epoch(Fence(claim.shard_id, epoch), stored)
        self._cursor.execute(sql("put_shard"), (claim.shard_id, epoch, claim.owner, self._clock.now_ms()))
        self._epochs[claim.shard_id] = epoch
        return Fence(claim.shard_id, epoch)

    def _roll_back(self, sequence: int) -> None:
        self._applier.next_sequence = sequence
        if self._connection.in_transaction:
            try:
                self._cursor.execute("ROLLBACK")
            except apsw.Error as error:
                _LOG.error("ROLLBACK failed: %s: %s", type(error).__name__, error)

    # --- checkpoints ------------------------------------------------------------------------------------------------
    def _note_wal(self, _connection: apsw.Connection, _schema: str, pages: int) -> int:
        self._wal_pages = pages
        return apsw.SQLITE_OK

    def _checkpoint(self) -> None:
        """Copies the log into the database when it is long, after everybody was answered: it takes milliseconds."""
        if self._wal_pages < WAL_PAGES_BEFORE_CHECKPOINT:
            return
        self._wal_pages = 0
        try:
            self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        except apsw.Error as error:
            # The log has everything; the next commit tries again.
            _LOG.warning("a checkpoint failed: %s: %s", type(error).__name__, error)


def stale_epoch(fence: Fence, stored: int) -> CuptimeError:
    """The refusal for a fence that is not the stored one."""
    return CuptimeError(
        Reason.EPOCH_STALE,
        f"shard {fence.shard_id} is at epoch {stored}, not {fence.epoch}",
        metadata={"shard_id": str(fence.shard_id), "epoch": str(fence.epoch), "stored": str(stored)},
    )


def _resolve(batch: list[Unit], answers: list[Answer]) -> None:
    for unit, answer in zip(batch, answers):
        if not unit.future.done():  # A caller that gave up is not told.
            if isinstance(answer, Exception):
                unit.future.set_exception(answer)
            else:
                unit.future.set_result(answer)
