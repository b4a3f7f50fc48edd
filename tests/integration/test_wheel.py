"""What we would publish can be installed and imported where nothing of this tree is to be seen."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

_BUILD_TIMEOUT_S = 600
_LOOK = """
import json, cuptime, cuptime._core
from cuptime._gen.cuptime.v1 import task_service_pb2, task_service_pb2_grpc
from importlib.metadata import version, entry_points
print(json.dumps({
    "files": [m.__file__ for m in (cuptime, cuptime._core, task_service_pb2, task_service_pb2_grpc)],
    "version": version("cuptime"),
    "same": version("cuptime") == cuptime.__version__,
    "command": entry_points(group="console_scripts")["cuptime"].value,
}))
"""


def _run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, check=False, timeout=_BUILD_TIMEOUT_S
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(repo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist and the wheel."""
    out = tmp_path_factory.mktemp("dist")
    _run(sys.executable, repo / "scripts" / "build_wheel.py", out, cwd=repo)
    return out


@pytest.mark.slow
@pytest.mark.timeout(_BUILD_TIMEOUT_S)
def test_the_sdist_can_rebuild_everything(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    assert {"LICENSE", "README.md", "Cargo.lock", "build_backend/backend.py", "pyproject.toml"} <= names
    assert "python/cuptime/_gen/cuptime/v1/task_service_pb2.py" in names
    assert "proto/cuptime/v1/task_service.proto" in names
    assert not {name for name in names if name.endswith((".so", ".pyc"))}


@pytest.mark.slow
@pytest.mark.timeout(_BUILD_TIMEOUT_S)
def test_the_wheel_works_in_a_clean_environment(built: Path, tmp_path: Path) -> None:
    (wheel,) = built.glob("*.whl")
    assert "-cp311-abi3-" in wheel.name, "one wheel for every Python from 3.11"
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {"cuptime/_core.pyi", "cuptime/py.typed", "cuptime/_gen/cuptime/v1/task_service_pb2.pyi"} <= names

    clean = tmp_path / "venv"
    _run(sys.executable, "-m", "venv", "--without-pip", clean, cwd=tmp_path)
    python = clean / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python]
    _run(*pip, "install", "--quiet", "--no-deps", "--no-index", wheel, cwd=tmp_path)
    # The libraries are borrowed by path: a .pth does not follow the .pth files it leads to, so our tree stays out.
    (site,) = clean.glob("lib/python*/site-packages")
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")

    seen = json.loads(_run(python, "-I", "-c", _LOOK, cwd=tmp_path))
    assert all(Path(file).is_relative_to(site) for file in seen["files"]), seen["files"]
    assert seen["same"] is True
    assert seen["command"] == "cuptime.app.start:main"
