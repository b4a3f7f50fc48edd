"""Generates `python/cuptime/_gen` from `proto/`, with the imports rooted inside our own package.

protoc writes absolute imports by proto path (`from cuptime.v1 import tasks_pb2`), which would need `_gen` itself on
`sys.path` and would clash with our package `cuptime`. So every import of one of our own proto folders is moved below
`cuptime._gen`; imports of `google.*` stay, they come from installed packages. Rule for readers:

    proto/<folder>/<name>.proto   ->   from cuptime._gen.<folder> import <name>_pb2, <name>_pb2_grpc
    proto/cuptime/v1/tasks.proto  ->   from cuptime._gen.cuptime.v1 import tasks_pb2, tasks_pb2_grpc

Files are replaced one by one and only when they differ, so a process that imports meanwhile never sees half a file.
"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROTO = ROOT / "proto"
OUT = ROOT / "python" / "cuptime" / "_gen"
_NOTE = '"""Generated from proto/ by build_backend/protos.py. Do not edit; not committed."""\n'


def _package_dir(name: str) -> Path:
    """The folder of an installed package, namespace packages included."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"protos: the package {name} is not installed; see requirements/build.in")
    return Path(next(iter(spec.submodule_search_locations)))


def _include_dirs() -> list[Path]:
    """Where protoc looks: ours, googleapis-common-protos, and the well-known types."""
    return [PROTO, _package_dir("google.api").parent.parent, _package_dir("grpc_tools") / "_proto"]


def _rooted(text: str, folders: set[str]) -> str:
    """Moves imports of our own proto folders (dotted, longest first) below `cuptime._gen`."""
    for folder in sorted(folders, key=len, reverse=True):
        pattern = rf"^(\s*)from {re.escape(folder)} import "
        text = re.sub(pattern, rf"\1from cuptime._gen.{folder} import ", text, flags=re.MULTILINE)
    return text


def _protoc(sources: list[Path], out: Path) -> None:
    """Runs protoc into `out`; its own messages go to the terminal."""
    command = [sys.executable, "-m", "grpc_tools.protoc"]
    command += [f"-I{folder}" for folder in _include_dirs()]
    command += [f"--python_out={out}", f"--pyi_out={out}", f"--grpc_python_out={out}"]
    command += [str(source.relative_to(PROTO)) for source in sources]
    if subprocess.run(command, cwd=PROTO, check=False).returncode != 0:
        raise SystemExit("protos: protoc refused the files above")


def _replace(path: Path, text: str) -> bool:
    """Writes `text` at `path` by rename; False when it is there already."""
    if path.exists() and path.read_text() == text:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_text(text)
    fresh.replace(path)
    return True


def generate() -> tuple[int, int]:
    """Brings `_gen` up to date; returns (files in it, files that changed)."""
    sources = sorted(PROTO.rglob("*.proto"))
    wanted = {OUT / "__init__.py": _NOTE}
    if sources:
        folders = {".".join(s.parent.relative_to(PROTO).parts) for s in sources}
        with tempfile.TemporaryDirectory() as scratch:
            _protoc(sources, Path(scratch))
            for made in sorted(Path(scratch).rglob("*")):
                target = OUT / made.relative_to(scratch)
                if made.is_dir():
                    wanted[target / "__init__.py"] = _NOTE
                else:
                    wanted[target] = _rooted(made.read_text(), folders)
    changed = sum(_replace(path, text) for path, text in wanted.items())
    for old in [*OUT.rglob("*.py"), *OUT.rglob("*.pyi")]:
        if old not in wanted:
            old.unlink()
            changed += 1
    return len(wanted), changed


if __name__ == "__main__":
    count, changed = generate()
    print(f"protos: {count} generated files, {changed} changed")
