"""The watched folder: one rule set, published when its content is new and good, with real inotify."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from cuptime.domain.errors import Reason
from cuptime.rules.folder import RuleFolder
from tests.conftest import WaitUntil
from tests.unit.rules.test_book import Shelf, rule


@pytest_asyncio.fixture
async def shelf() -> AsyncIterator[Shelf]:
    shelf = Shelf()
    await shelf.open()
    yield shelf


@pytest_asyncio.fixture
async def folder(shelf: Shelf, tmp_path: Path) -> AsyncIterator[RuleFolder]:
    (tmp_path / "10-early.yaml").write_text(rule("early"))
    folder = RuleFolder(shelf.book, tmp_path, shelf.clock)
    await folder.start()
    yield folder
    await folder.close()


async def test_a_change_is_live_soon(
    shelf: Shelf, folder: RuleFolder, tmp_path: Path, wait_until: WaitUntil
) -> None:
    assert folder.status.revision == 1
    (tmp_path / "20-late.yaml").write_text(rule("late"))
    await wait_until(lambda: folder.status.rule_count == 2, 10, why="the second file is live")
    rules = shelf.book.snapshot().rules
    assert rules is not None
    assert rules.rule_ids() == ["early", "late"]
    (tmp_path / "10-early.yaml").unlink()
    await wait_until(lambda: folder.status.rule_count == 1, 10, why="the first file is gone")


async def test_a_bad_file_is_reported_with_its_place_and_replaces_nothing(
    shelf: Shelf, folder: RuleFolder, tmp_path: Path, wait_until: WaitUntil
) -> None:
    (tmp_path / "20-bad.yaml").write_text(rule("bad", "user.teir == 'x'"))
    await wait_until(lambda: folder.status.error, 10, why="the fault is reported")
    fault = folder.status.faults[0]
    assert (fault.file, fault.line, fault.column, fault.code) == ("20-bad.yaml", 3, 17, "UNKNOWN_NAME")
    assert shelf.book.snapshot().revision == folder.status.revision == 1
    (tmp_path / "20-bad.yaml").write_text(rule("bad", "user.tier == 'x'"))
    await wait_until(lambda: not folder.status.error, 10, why="mended")
    assert shelf.book.snapshot().revision == 2


async def test_a_half_written_file_is_no_rule_set(shelf: Shelf, folder: RuleFolder, tmp_path: Path) -> None:
    (tmp_path / "10-early.yaml").write_text("")
    await folder.load()
    assert folder.status.faults[0].code == "MISSING_KEY"
    assert shelf.book.snapshot().revision == 1
    (tmp_path / "10-early.yaml").write_bytes(b"rules: \xff\xfe")
    await folder.load()
    assert (folder.status.faults[0].code, folder.status.faults[0].column) == ("NOT_UTF8", 8)
    (tmp_path / "10-early.yaml").unlink()
    await folder.load()
    assert "no *.yaml files" in folder.status.error
    assert shelf.book.snapshot().revision == 1


async def test_equal_content_is_no_new_revision(shelf: Shelf, folder: RuleFolder, tmp_path: Path) -> None:
    (tmp_path / "10-early.yaml").write_text(rule("early"))
    (tmp_path / "notes.txt").write_text("not a rule file")
    await folder.load()
    assert shelf.book.snapshot().revision == 1
    again = RuleFolder(shelf.book, tmp_path, shelf.clock)
    await again.load(first=True)
    assert again.status.error == ""
    assert shelf.book.snapshot().revision == 1


async def test_a_revision_that_came_by_rpc_outlives_a_restart(
    shelf: Shelf, folder: RuleFolder, tmp_path: Path
) -> None:
    await shelf.book.publish(rule("by_rpc"))
    again = RuleFolder(await shelf.open(), tmp_path, shelf.clock)
    await again.load(first=True)
    assert shelf.book.snapshot().revision == 2
    (tmp_path / "10-early.yaml").write_text(rule("early", "true"))
    await again.load()
    assert shelf.book.snapshot().revision == 3


async def test_a_restart_with_a_broken_folder_has_the_last_good_set_and_says_so(
    shelf: Shelf, folder: RuleFolder, tmp_path: Path
) -> None:
    (tmp_path / "20-bad.yaml").write_text(rule("bad", "user.teir == 'x'"))
    book = await shelf.open()
    again = RuleFolder(book, tmp_path, shelf.clock)
    await again.load(first=True)
    assert book.snapshot().revision == 1
    assert book.snapshot().rules is not None
    start, from_folder = book.standing.attempts()
    assert (start.origin, start.revision, start.error) == ("start", 1, "")
    assert (from_folder.origin, from_folder.source) == ("folder", str(tmp_path))
    assert (from_folder.succeeded_ms, from_folder.faults[0].file) == (0, "20-bad.yaml")
    # A call that succeeds says nothing about the folder.
    await book.publish(rule("by_call"))
    assert [attempt.origin for attempt in book.standing.attempts()] == ["start", "folder", "call"]
    assert book.standing.attempts()[1].error
    (tmp_path / "20-bad.yaml").write_text(rule("bad", "user.tier == 'x'"))
    await again.load()
    mended = book.standing.attempts()[1]
    assert (mended.error, mended.faults, mended.revision, mended.rule_count) == ("", (), 3, 2)
    # `early` has another condition than what is live since the call: nothing is taken over but what is the same text.
    assert mended.reused_count == 1


async def test_a_folder_that_is_not_there_stops_nothing(shelf: Shelf, tmp_path: Path) -> None:
    await shelf.book.publish(rule())
    folder = RuleFolder(shelf.book, tmp_path / "missing", shelf.clock)
    await folder.load(first=True)
    assert "cannot be read" in folder.status.error
    assert shelf.book.snapshot().revision == 1


async def test_storage_that_fails_is_tried_again(shelf: Shelf, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(rule())
    folder = RuleFolder(shelf.book, tmp_path, shelf.clock)
    shelf.storage.failures = [Reason.STORAGE_UNAVAILABLE]
    await folder.load(first=True)
    assert folder.status.error
    await folder.load()
    assert (folder.status.error, folder.status.revision) == ("", 1)


async def test_a_folder_made_anew_is_watched_anew(
    shelf: Shelf, tmp_path: Path, wait_until: WaitUntil
) -> None:
    place = tmp_path / "rules"
    folder = RuleFolder(shelf.book, place, shelf.clock)
    await folder.start()
    assert "cannot be read" in folder.status.error
    place.mkdir()
    (place / "10-early.yaml").write_text(rule("early"))
    await wait_until(lambda: folder.status.revision == 1, 10, why="the folder that came later is live")
    shutil.rmtree(place)
    await wait_until(lambda: "cannot be read" in folder.status.error, 10, why="it is missed")
    assert shelf.book.snapshot().revision == 1
    place.mkdir()
    (place / "10-late.yaml").write_text(rule("late"))
    await wait_until(lambda: folder.status.revision == 2, 10, why="the new folder is live")
    (place / "20-last.yaml").write_text(rule("last"))
    await wait_until(lambda: folder.status.rule_count == 2, 10, why="and watched")
    shutil.rmtree(place)  # and at once:
    place.mkdir()
    (place / "10-again.yaml").write_text(rule("again"))
    await wait_until(lambda: folder.status.rule_count == 1, 10, why="one that was swapped is live")
    (place / "20-last.yaml").write_text(rule("last"))
    await wait_until(lambda: folder.status.rule_count == 2, 10, why="and watched")
    await folder.close()


async def test_what_is_behind_links_is_watched_too(
    shelf: Shelf, tmp_path: Path, wait_until: WaitUntil
) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "10.yaml").write_text(rule(name))
    current, next_one = tmp_path / "current", tmp_path / "next"
    current.symlink_to("one")
    folder = RuleFolder(shelf.book, current, shelf.clock)
    await folder.start()
    next_one.symlink_to("two")
    next_one.rename(current)
    await wait_until(lambda: folder.status.revision == 2, 10, why="the link to the folder was turned")
    outside = tmp_path / "outside"
    outside.write_text(rule("late"))
    (tmp_path / "two" / "20.yaml").symlink_to(outside)
    await wait_until(lambda: folder.status.rule_count == 2, 10, why="a link to a file was put there")
    outside.write_text(rule("late") + rule("later").partition("\n")[2])
    await wait_until(lambda: folder.status.rule_count == 3, 10, why="the file behind the link was written")
    await folder.close()


async def test_a_link_to_nothing_is_a_fault_and_replaces_nothing(
    shelf: Shelf, folder: RuleFolder, tmp_path: Path
) -> None:
    (tmp_path / ".#10-early.yaml").symlink_to("somebody@machine.1:2")  # An editor's lock.
    (tmp_path / "10-early.yaml").rename(tmp_path / "elsewhere")
    (tmp_path / "10-early.yaml").symlink_to("nowhere")
    (tmp_path / "20-late.yaml").write_text(rule("late"))
    await folder.load()
    assert [(fault.file, fault.code) for fault in folder.status.faults] == [("10-early.yaml", "CANNOT_READ")]
    assert shelf.book.snapshot().revision == 1


async def test_a_folder_that_comes_back_as_it_was_is_no_fault_any_more(
    shelf: Shelf, folder: RuleFolder, tmp_path: Path
) -> None:
    away = tmp_path.with_name("away")
    shutil.move(tmp_path, away)
    assert "cannot be read" in (await folder.load()).error
    shutil.move(away, tmp_path)
    assert (await folder.load()).error == ""
    assert shelf.book.snapshot().revision == 1
    assert [attempt.error for attempt in shelf.book.standing.attempts()] == [""]
