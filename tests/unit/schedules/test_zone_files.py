"""Where zone data comes from: another package, or the system's, without a new build; and its version."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest

ASK = """
from cuptime.core import Cron
from cuptime.schedules.zone_files import zone_of, zone_version
# 09:00 on Monday 2026-11-23 in Shanghai, as UTC hours after midnight.
found = Cron("0 9 * * *", zone_of("Asia/Shanghai")).next(1_795_392_000_000 - 1)
print(zone_version(), found % 86_400_000 // 3_600_000)
"""
HIDDEN = """
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "tzdata":
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Hidden())
"""


def answer(code: str, **environment: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **environment},
    )
    return done.stdout.split()


@pytest.fixture
def zones() -> Path:
    return Path(str(resources.files("tzdata.zoneinfo")))


def test_a_newer_package_is_used_without_a_new_build(tmp_path: Path, zones: Path) -> None:
    version, hour = answer(ASK)
    assert (version[:2], hour) == ("20", "1")
    # A release in which Shanghai keeps Tokyo's time.
    shutil.copytree(zones.parent, tmp_path / "tzdata")
    shutil.copy(zones / "Asia" / "Tokyo", tmp_path / "tzdata" / "zoneinfo" / "Asia" / "Shanghai")
    (tmp_path / "tzdata" / "__init__.py").write_text('IANA_VERSION = "2099z"\n')
    assert answer(ASK, PYTHONPATH=str(tmp_path)) == ["2099z", "0"]


def test_without_the_package_the_systems_data_is_used(tmp_path: Path, zones: Path) -> None:
    (tmp_path / "Asia").mkdir()
    shutil.copy(zones / "Asia" / "Shanghai", tmp_path / "Asia" / "Shanghai")
    (tmp_path / "tzdata.zi").write_text("# version 2031c\n")
    assert answer(HIDDEN + ASK, PYTHONTZPATH=str(tmp_path)) == ["2031c", "1"]
    (tmp_path / "tzdata.zi").unlink()
    assert answer(HIDDEN + ASK, PYTHONTZPATH=str(tmp_path)) == ["system", "1"]
