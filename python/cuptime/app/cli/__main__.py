"""`python -m cuptime.app.cli`: the command line where the command `cuptime` is not on the path."""

from __future__ import annotations

from cuptime.app.cli import app

app()
