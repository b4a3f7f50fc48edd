"""A running registry and planner for each test."""

from __future__ import annotations

import pytest_asyncio

from tests.unit.schedules.desk_rig import schedule_rig

rig = pytest_asyncio.fixture(schedule_rig)
