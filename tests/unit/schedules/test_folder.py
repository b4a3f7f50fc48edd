"""The watched folder of schedules: what it says is registered, what it says no more is not, and calls keep what is
theirs."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from cuptime.api.flat import Entries
from cuptime.api.schedules import Targets
from cuptime.app.schedules_check import check
from cuptime.domain.errors import CuptimeError, Reason
from cuptime.domain.limits import RULE_YAML_DEPTH_MAX
from cuptime.domain.values import ScheduleState
from cuptime.schedules.folder import ScheduleFolder
from cuptime.schedules.registry import ScheduleChange
from tests.conftest import WaitUntil
from tests.unit.schedules.desk_rig import ScheduleRig, every
from tests.unit.tasks.rig import START_MS
from tests.unit.tasks.test_leases import crash

MINUTE = 60_000
OPEN = """\
  - schedule_id: open-park
    cron: "0 9 * * 1-5"
    timezone: Asia/Shanghai
    queue: open
    labels: {park: west}
"""
OTHER = OPEN.replace("open-park", "other")
OFTEN = """\
  - schedule_id: often
    every_ms: 1000
    queue: often
"""


def written(*entries: str) -> str:
    return "schedules:\n" + "".join(entries) if entries else "schedules: []\n"


def folder_of(rig: ScheduleRig, path: Path) -> ScheduleFolder:
    async def known(group_id: int) -> bool:
        return group_id in rig.groups

    return ScheduleFolder(rig.registry.raw, Entries(rig.clock, known), path, rig.clock)


@pytest_asyncio.fixture
async def folder(rig: ScheduleRig, tmp_path: Path) -> AsyncIterator[ScheduleFolder]:
    rig.targets = Targets()
    await crash(rig)
    await rig.start()
    (tmp_path / "10-open.yaml").write_text(written(OPEN))
    folder = folder_of(rig, tmp_path)
    await folder.start()
    yield folder
    await folder.close()


async def live(rig: ScheduleRig) -> dict[str, str]:
    """schedule_id to its file."""
    rows = await rig.storage.schedules(after=0, limit=1_000)
    return {
        row.schedule_id: row.source.partition("#")[0]
        for row in rows
        if row.state is not ScheduleState.UNREGISTERED
    }


async def test_a_change_of_the_folder_is_in_effect_soon(
    rig: ScheduleRig, folder: ScheduleFolder, tmp_path: Path, wait_until: WaitUntil
) -> None:
    assert await live(rig) == {"open-park": "10-open.yaml"}
    made = await rig.registry.get("open-park")
    assert (made.timing.expression, made.timing.time_zone, made.labels) == (
        *("0 9 * * 1-5", "Asia/Shanghai"),
        (("park", "west"),),
    )
    (tmp_path / "20-often.yaml").write_text(written(OFTEN))
    await wait_until(lambda: folder.status.schedules == 2, 10)
    assert await live(rig) == {"open-park": "10-open.yaml", "often": "20-often.yaml"}
    worker = rig.worker("often")
    await rig.pass_ms(1_500)
    assert len(worker.take(10, 1 << 40)) == 1
    (tmp_path / "20-often.yaml").write_text(written(OFTEN.replace("1000", "7000")))
    await wait_until(lambda: folder.status.updated == 1, 10)
    assert (await rig.registry.get("often")).timing.value_ms == 7_000
    (tmp_path / "10-open.yaml").unlink()
    await wait_until(lambda: folder.status.unregistered == 1, 10)
    assert await live(rig) == {"often": "20-often.yaml"}
    changes = await rig.registry.raw.changes(before=1 << 62, limit=9)
    assert {change.caller.actor for change in changes} == {"folder"}


async def test_loading_again_changes_nothing_and_leaves_alone_what_people_did(
    rig: ScheduleRig, folder: ScheduleFolder, tmp_path: Path
) -> None:
    once = f"  - {{schedule_id: once, at_time_ms: {START_MS + MINUTE}, queue: once}}\n"
    words = "  - {schedule_id: words, text: 隔周三10:00, queue: words}\n"
    (tmp_path / "20.yaml").write_text(written(once, words))
    await folder.load()
    assert folder.status.error == ""
    await rig.registry.pause("open-park", "rain")
    await rig.pass_ms(9 * 86_400_000)
    generations = {name: (await rig.registry.get(name)).generation for name in await live(rig)}
    assert (await rig.registry.get("once")).state is ScheduleState.FINISHED
    for _ in range(2):
        await crash(rig)
        await rig.start()
        again = folder_of(rig, tmp_path)
        await again.load()
        status = again.status
        assert (status.error, status.registered, status.updated, status.unregistered) == ("", 0, 0, 0)
    assert {name: (await rig.registry.get(name)).generation for name in await live(rig)} == generations
    assert (await rig.registry.get("open-park")).state is ScheduleState.PAUSED
    (tmp_path / "20.yaml").unlink()
    await again.load()
    assert await live(rig) == {"open-park": "10-open.yaml"}, "what is finished goes too"


async def test_a_file_with_another_name_fires_nothing_again(
    rig: ScheduleRig, folder: ScheduleFolder, tmp_path: Path
) -> None:
    await folder.close()
    once = "  - {schedule_id: once, after_ms: 1000, queue: once}\n"
    at = f"  - {{schedule_id: at, at_time_ms: {START_MS + MINUTE}, queue: once}}\n"
    (tmp_path / "20.yaml").write_text(written(once, at))
    await folder.load()
    await rig.pass_ms(2 * MINUTE)
    worker = rig.worker("once")
    await rig.pass_ms(1)
    assert len(worker.take(10, 1 << 40)) == 2
    (tmp_path / "20.yaml").rename(tmp_path / "30.yaml")
    status = await folder.load()
    assert (status.error, status.updated) == ("", 2)
    assert await live(rig) == {"open-park": "10-open.yaml", "once": "30.yaml", "at": "30.yaml"}
    await rig.pass_ms(2 * MINUTE)
    assert worker.take(10, 1 << 40) == []
    assert (await rig.registry.get("once")).state is ScheduleState.FINISHED


async def test_a_folder_that_comes_back_as_it_was_is_no_fault_any_more(
    folder: ScheduleFolder, tmp_path: Path
) -> None:
    away = tmp_path.with_name("away")
    shutil.move(tmp_path, away)
    assert "cannot be read" in (await folder.load()).error
    shutil.move(away, tmp_path)
    assert (await folder.load()).error == ""


async def test_what_a_call_registered_is_a_conflict_and_is_never_touched(
    rig: ScheduleRig, folder: ScheduleFolder, tmp_path: Path
) -> None:
    before = await rig.register("often", every(5_000), b"")
    (tmp_path / "20-often.yaml").write_text(written(OFTEN, OPEN.replace("open-park", "more")))
    await folder.load()
    (fault,) = folder.status.faults
    assert (fault.code, fault.file, fault.line, fault.column) == ("CONFLICT", "20-often.yaml", 2, 18)
    assert await live(rig) == {"open-park": "10-open.yaml", "often": ""}
    assert (await rig.registry.get("often")).generation == before.generation
    await rig.registry.unregister("often")
    (tmp_path / "20-often.yaml").write_text(written(OFTEN))
    await folder.load()
    assert (await live(rig))["often"] == "20-often.yaml"


async def test_calls_pause_and_fire_what_the_folder_has_but_do_not_change_it(
    rig: ScheduleRig, folder: ScheduleFolder
) -> None:
    for call in (
        rig.registry.update("open-park", ScheduleChange(note="x")),
        rig.registry.unregister("open-park"),
    ):
        with pytest.raises(CuptimeError) as refused:
            await call
        assert refused.value.reason is Reason.STATE_CONFLICT
        assert "10-open.yaml" in str(refused.value)
    await rig.registry.pause("open-park")
    await rig.registry.resume("open-park")
    await rig.registry.raw.by_hand.trigger("open-park")
    await crash(rig)
    await rig.start()
    gone = await rig.registry.unregister("open-park")
    assert gone.state is ScheduleState.UNREGISTERED, "a server without the folder has nobody to ask"


@pytest.mark.parametrize(
    ("text", "code", "line", "column"),
    [
        ("", "MISSING_KEY", 1, 1),
        ("schedules: 7", "BAD_VALUE", 1, 12),
        ("rules: []", "UNKNOWN_KEY", 1, 1),
        (written("  - often\n"), "BAD_VALUE", 2, 5),
        (written(OFTEN.replace("queue", "qeue")), "UNKNOWN_KEY", 4, 5),
        (written(OFTEN.replace("1000", "often")), "BAD_VALUE", 3, 15),
        (written(OFTEN.replace("1000", "'1000'")), "BAD_VALUE", 3, 15),
        (written(OFTEN.replace("1000", "9")), "FIELD_INVALID", 3, 15),
        (written(OFTEN.replace("often\n", "Often\n", 1)), "FIELD_INVALID", 2, 18),
        (written(OFTEN.replace("    queue: often\n", "")), "FIELD_REQUIRED", 2, 5),
        (written(OFTEN, OFTEN), "DUPLICATE_SCHEDULE", 5, 18),
        (written(OFTEN + "    cron: '* * * * *'\n"), "FIELD_CONTRADICTION", 3, 15),
        (written(OFTEN + "    overlap: some\n"), "FIELD_INVALID", 5, 14),
        (written(OFTEN + "    labels: [a]\n"), "BAD_VALUE", 5, 13),
        (written(OFTEN + "    enabled: perhaps\n"), "BAD_VALUE", 5, 14),
        (written(OFTEN + "    group_id: 99999\n    sku_version: '2.1'\n"), "GROUP_NOT_FOUND", 5, 15),
        (written(OTHER.replace("0 9 *", "0 99 *")), "CRON_INVALID", 3, 14),
        (written(OTHER.replace('"0 9 * * 1-5"', "0 0 30 2 *")), "CRON_NEVER_FIRES", 3, 11),
        (written(OTHER.replace("Asia/Shanghai", "Mars")), "TIME_ZONE_UNKNOWN", 4, 15),
        (written(OPEN.replace('cron: "0 9 * * 1-5"', "text: now and then")), "WORDS_NOT_UNDERSTOOD", 3, 11),
        ("schedules: &a [*a]\n", "YAML_ALIAS", 1, 12),
        ("schedules: " + "[" * (RULE_YAML_DEPTH_MAX + 1), "LIMIT_DEPTH", 1, 27),
        ("schedules: !!python/object:os.system []\n", "YAML_TAG", 1, 12),
        ("schedules: []\n---\nschedules: []\n", "YAML_DOCUMENTS", 2, 1),
        ("schedules: [", "YAML_SYNTAX", 2, 1),
    ],
)
async def test_a_bad_file_is_reported_with_its_place_and_replaces_nothing(
    rig: ScheduleRig, folder: ScheduleFolder, tmp_path: Path, text: str, code: str, line: int, column: int
) -> None:
    (tmp_path / "20-bad.yaml").write_text(text)
    (tmp_path / "30-good.yaml").write_text(written(OPEN.replace("open-park", "good")))
    status = await folder.load()
    fault = status.faults[0]
    assert (fault.code, fault.file, fault.line, fault.column) == (code, "20-bad.yaml", line, column)
    assert code in status.error
    assert await live(rig) == {"open-park": "10-open.yaml"}
    (tmp_path / "20-bad.yaml").unlink()
    status = await folder.load()
    assert (status.error, status.faults) == ("", ())
    assert set(await live(rig)) == {"open-park", "good"}


async def test_an_empty_folder_replaces_nothing_and_an_empty_list_ends_all(
    rig: ScheduleRig, folder: ScheduleFolder, tmp_path: Path
) -> None:
    (tmp_path / "10-open.yaml").unlink()
    assert "no *.yaml" in (await folder.load()).error
    assert set(await live(rig)) == {"open-park"}
    (tmp_path / "10-open.yaml").write_text(written())
    assert (await folder.load()).unregistered == 1
    assert await live(rig) == {}


async def test_what_is_not_enabled_is_not_registered(
    rig: ScheduleRig, folder: ScheduleFolder, tmp_path: Path
) -> None:
    (tmp_path / "10-open.yaml").write_text(written(OPEN + "    enabled: false\n", OFTEN))
    await folder.load()
    assert await live(rig) == {"often": "10-open.yaml"}


async def test_an_instant_that_is_past_is_no_fault_of_the_file(
    rig: ScheduleRig, folder: ScheduleFolder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "20.yaml").write_text(written("  - {schedule_id: once, at_time_ms: 5, queue: q}\n", OFTEN))
    assert (await folder.load()).error == ""
    assert set(await live(rig)) == {"open-park", "often"}
    assert "SCHEDULE_TIME_PASSED" in caplog.text


async def test_storage_that_cannot_serve_is_tried_again_and_what_was_done_is_not_done_twice(
    rig: ScheduleRig, folder: ScheduleFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cuptime.schedules.folder.AGAIN_S", 0.01)
    more = [OPEN.replace("open-park", f"more-{n}") for n in range(3)]
    (tmp_path / "20.yaml").write_text(written(*more))
    commits = iter([False, True, False, False, False])

    def fail_second(_: object) -> None:
        if next(commits, False):
            raise CuptimeError(Reason.STORAGE_UNAVAILABLE)

    rig.storage.before_commit = fail_second  # type: ignore[attr-defined]
    assert (await folder.load()).error == ""
    assert set(await live(rig)) == {"open-park", "more-0", "more-1", "more-2"}
    assert (await rig.registry.get("more-0")).generation == 1


async def test_a_single_file_is_watched_too(
    rig: ScheduleRig, folder: ScheduleFolder, tmp_path: Path, wait_until: WaitUntil
) -> None:
    await folder.close()
    single = tmp_path / "deep" / "all.yaml"
    single.parent.mkdir()
    single.write_text(written(OFTEN))
    watching = folder_of(rig, single)
    await watching.start()
    assert await live(rig) == {"often": "all.yaml"}
    new = single.with_suffix(".new")
    new.write_text(written(OFTEN, OPEN))
    new.rename(single)
    await wait_until(lambda: watching.status.schedules == 2, 3, why="both are there")
    await watching.close()


def test_the_check_of_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text(written(OPEN, OFTEN))
    assert check([tmp_path]) == 0
    assert capsys.readouterr().out == "1 files, 2 schedules, 0 faults\n"
    bad.write_text(written(OPEN.replace("0 9 *", "0 99 *").replace("open-park", "other")))
    assert check([tmp_path]) == 1
    said = capsys.readouterr()
    assert said.out == "2 files, 3 schedules, 1 faults\n"
    assert f"{bad}:3:14: CRON_INVALID [other]:" in said.err
    assert said.err.splitlines()[1:] == ['        cron: "0 99 * * 1-5"', "                 ^"]
