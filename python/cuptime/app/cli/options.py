"""Options that several groups of commands take."""

from __future__ import annotations

from typing import Annotated, Final

import typer

Address = Annotated[str, typer.Option(envvar="CUPTIME_ADDRESS", help="Address of the server.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
DEFAULT_ADDRESS: Final = "127.0.0.1:7000"
