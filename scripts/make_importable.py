"""Makes the package importable where it stands, and puts the `cuptime` command into `.venv/bin`.

A .pth file is what an editable install would write too; without the install there is no second Rust build and
nothing to repeat when files move.
"""

import stat
import sys
import sysconfig
from pathlib import Path

_COMMAND = """#!{python}
from cuptime.app.start import main

main()
"""


def main() -> None:
    """Writes the two files into the interpreter that runs this."""
    root = Path(__file__).resolve().parent.parent
    Path(sysconfig.get_path("purelib"), "cuptime.pth").write_text(f"{root / 'python'}\n")
    command = Path(sysconfig.get_path("scripts"), "cuptime")
    command.write_text(_COMMAND.format(python=sys.executable))
    command.chmod(command.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)


if __name__ == "__main__":
    main()
