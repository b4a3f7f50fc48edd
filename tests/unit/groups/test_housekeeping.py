"""What its window has passed is forgotten, and nothing before."""

from __future__ import annotations

from cuptime.domain.errors import Reason
from cuptime.domain.limits import FORGET_ROWS_MAX, REQUEST_ID_WINDOW_MS
from cuptime.domain.writes import InsertRefusals
from cuptime.groups.housekeeping import PERIOD_MS, Housekeeping
from tests.unit.dispatch.rig import Morning, new_group, request


async def test_forgotten_after_a_day(morning: Morning) -> None:
    keeper = Housekeeping(morning.storage, morning.fence, morning.clock, morning.wheel, morning.intake)
    keeper.start()
    deadline_ms = morning.clock.now_ms() + 48 * 3_600_000
    await morning.groups.create(new_group(10_001, deadline_ms=deadline_ms), request_id="made")
    await morning.submit_raw(request(10_001, 1, "refused", credit=1))
    await morning.pass_ms(23 * PERIOD_MS)
    assert await morning.storage.request("made") is not None
    assert await morning.storage.refusal("refused") is not None
    assert morning.intake.stats()["request_ids"] == 1
    morning.storage.failures = [Reason.STORAGE_UNAVAILABLE]
    await keeper.run()
    await morning.pass_ms(3 * PERIOD_MS)
    assert await morning.storage.request("made") is None
    assert await morning.storage.refusal("refused") is None
    assert morning.intake.stats()["request_ids"] == 0
    keeper.close()


async def test_one_sweep_forgets_more_than_one_commit_may(morning: Morning) -> None:
    made_ms = morning.clock.now_ms()
    rows = [(f"r{n}", n, 10_001, 1, "PURCHASE_LIMIT", made_ms, b"") for n in range(FORGET_ROWS_MAX + 1)]
    await morning.storage.commit(morning.fence, [InsertRefusals(rows)])
    keeper = Housekeeping(morning.storage, morning.fence, morning.clock, morning.wheel, morning.intake)
    await morning.pass_ms(REQUEST_ID_WINDOW_MS + 1)
    await keeper.run()
    assert await morning.storage.refusals_since(0, limit=1) == []
