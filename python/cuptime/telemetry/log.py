"""Structured logs: one JSON object a line, or coloured text on a terminal. Secrets and payloads are never logged.

Both ways of logging end here: `structlog`, and the standard library's `logging`, which most rooms use.
"""

from __future__ import annotations

import logging
import sys

import structlog


def configure(level: str = "info", *, json_lines: bool | None = None) -> None:
    """`level` is debug, info, warning or error; JSON when standard error is not a terminal, unless told."""
    as_json = not sys.stderr.isatty() if json_lines is None else json_lines
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer(ensure_ascii=False) if as_json else structlog.dev.ConsoleRenderer()
    )
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    least = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    out = logging.StreamHandler(sys.stderr)
    remove_meta = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    out.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=[remove_meta, renderer])
    )
    root = logging.getLogger()
    root.handlers[:] = [out]
    root.setLevel(least)
