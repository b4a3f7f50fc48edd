"""Where the command `cuptime` begins. `cuptime serve` with plain options goes straight to the server: after a crash
every imported library is time in which nothing is triggered. Everything else, `--help` and mistakes included, goes
to the command line (`cuptime.app.cli`), which says the same of the same options."""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

SERVE: Final = "serve"
OPTIONS: Final = (
    *("data", "listen", "metrics", "rules", "schedules", "redis", "retain_days", "retain_tasks_days"),
    *("ready_file", "log_level"),
)


def plain(words: Sequence[str]) -> dict[str, str] | None:
    """The options of a `serve` made of `--name value` alone, each at most once; None for any other command line."""
    if not words or words[0] != SERVE or len(words) % 2 == 0:
        return None
    given: dict[str, str] = {}
    for flag, value in zip(words[1::2], words[2::2], strict=True):
        name = flag.removeprefix("--").replace("-", "_")
        if flag != "--" + name.replace("_", "-") or name not in OPTIONS or name in given or value[:2] == "--":
            return None
        given[name] = value
    return given


def main() -> None:
    """The command `cuptime`."""
    given = plain(sys.argv[1:])
    if given is None:
        from cuptime.app.cli import app

        app()
        return
    # Until the server serves, nearly all that is made stays: looking for what does not costs 3 % of the imports, and
    # more the more waits in storage. `life` turns it on again.
    gc.disable()
    # structlog takes `rich` along wherever it is installed, for tracebacks in colour: a tenth of a second.
    # While structlog is imported, `rich` is not there.
    sys.modules["rich"] = None  # type: ignore[assignment]
    import structlog  # noqa: F401

    del sys.modules["rich"]
    from cuptime.app.life import run

    ready_file = given.pop("ready_file", None)
    sys.exit(run(dict(given), None if ready_file is None else Path(ready_file)))


if __name__ == "__main__":
    main()
