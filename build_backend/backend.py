"""The PEP 517 backend: maturin's, with protoc run first.

maturin has no step for generated code, and an sdist or wheel without `_gen` cannot be imported. Everything that only
asks questions (`get_requires_…`, `prepare_metadata_…`) is maturin's own.
"""

from __future__ import annotations

from typing import Any

import maturin
from maturin import (
    get_requires_for_build_editable,
    get_requires_for_build_sdist,
    get_requires_for_build_wheel,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)

from protos import generate

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]


def build_wheel(
    wheel_directory: str, config_settings: dict[str, Any] | None = None, metadata_directory: str | None = None
) -> str:
    """Generates the protos, then builds the wheel."""
    generate()
    name: str = maturin.build_wheel(wheel_directory, config_settings, metadata_directory)
    return name


def build_sdist(sdist_directory: str, config_settings: dict[str, Any] | None = None) -> str:
    """Generates the protos, then packs the sources."""
    generate()
    name: str = maturin.build_sdist(sdist_directory, config_settings)
    return name


def build_editable(
    wheel_directory: str, config_settings: dict[str, Any] | None = None, metadata_directory: str | None = None
) -> str:
    """Generates the protos, then builds in place."""
    generate()
    name: str = maturin.build_editable(wheel_directory, config_settings, metadata_directory)
    return name
