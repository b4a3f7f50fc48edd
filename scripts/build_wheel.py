"""Builds the sdist and, from its contents alone, the wheel: `python scripts/build_wheel.py [folder]` (default `dist`).

From the sdist, so that a file it lacks is missed here and not by whoever installs it. No network: the build tools are
those of `.venv`. The sdist is laid out at one fixed place and only files that differ are written, because cargo judges
by path and time of change: so crates that did not change are not compiled again.
"""

import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LAID_OUT = ROOT / "build" / "sdist"


def _backend(hook: str, folder: Path, out: Path) -> str:
    """Calls one PEP 517 hook of the tree at `folder`, as pip would; returns the file it made."""
    environment = dict(os.environ)
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    environment.setdefault("CARGO_TARGET_DIR", str(ROOT / "target"))
    code = (
        "import sys; sys.path.insert(0, 'build_backend'); import backend\n"
        "name = getattr(backend, sys.argv[1])(sys.argv[2]); open(sys.argv[3], 'w').write(name)"
    )
    with tempfile.NamedTemporaryFile("r") as answer, tempfile.TemporaryFile() as log:
        command = [sys.executable, "-c", code, hook, str(out), answer.name]
        run = subprocess.run(command, cwd=folder, env=environment, stdout=log, stderr=log, check=False)
        if run.returncode != 0:
            log.seek(0)
            sys.stderr.write(log.read().decode(errors="replace"))
            raise SystemExit(f"{hook} failed")
        return answer.read()


def _lay_out(sdist: Path) -> None:
    """Makes LAID_OUT equal to the sdist, leaving files that are equal already as they are."""
    wanted: dict[Path, bytes] = {}
    with tarfile.open(sdist) as archive:
        for member in archive:
            content = archive.extractfile(member)
            if content is not None:
                wanted[LAID_OUT / Path(*Path(member.name).parts[1:])] = content.read()
    for old in LAID_OUT.rglob("*"):
        if old.is_file() and old not in wanted:
            old.unlink()
    for path, content in wanted.items():
        if path.is_file() and path.read_bytes() == content:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def main() -> None:
    """Builds both into the folder given and prints their paths."""
    out = (Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "dist").resolve()
    out.mkdir(parents=True, exist_ok=True)
    for old in [*out.glob("cuptime-*.tar.gz"), *out.glob("cuptime-*.whl")]:
        old.unlink()
    sdist = out / _backend("build_sdist", ROOT, out)
    print(f"sdist: {sdist} ({sdist.stat().st_size:,} bytes)", flush=True)
    _lay_out(sdist)
    wheel = out / _backend("build_wheel", LAID_OUT, out)
    print(f"wheel: {wheel} ({wheel.stat().st_size:,} bytes)")


if __name__ == "__main__":
    main()
