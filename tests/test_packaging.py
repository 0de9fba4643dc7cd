"""The wheel: what is in it, and that `buffers` works from it beside somebody else's `agents`."""

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from configparser import ConfigParser
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("agents", "buffers", "envs", "experiments")
SCRIPTS = ("train", "evaluate")


def run(*command: object, **options) -> str:
    """The output of a command that must succeed; its words are in the failure if it does not."""
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, **options)
    assert done.returncode == 0, f"{done.args}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    # A copy, since building writes beside the sources and finds what earlier builds left there.
    source = tmp_path_factory.mktemp("source") / "retain"
    ignored = shutil.ignore_patterns(
        ".*", "__pycache__", "*.egg-info", "build", "dist", "runs", "results"
    )
    shutil.copytree(ROOT, source, ignore=ignored)
    out = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, source)
    (path,) = out.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def clean_python(wheel, tmp_path_factory) -> Path:
    """The interpreter of an environment that holds our wheel, NumPy and nothing else."""
    home = tmp_path_factory.mktemp("venv")
    venv.create(home, symlinks=True)
    python = home / "bin" / "python"
    run(
        sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel
    )
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    for folder in Path(np.__file__).parents[1].glob("numpy*"):  # with its shared libraries
        (site / folder.name).symlink_to(folder)
    return python


def test_the_wheel_holds_all_of_the_packages_and_nothing_else(wheel):
    inside = {n for n in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in n}
    wanted = {f"{script}.py" for script in SCRIPTS}
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*"):  # also what is not Python: templates, styles
            if path.is_file() and path.suffix != ".pyc":
                wanted.add(str(path.relative_to(ROOT)))
    assert inside == wanted


def test_metadata(wheel):
    name = wheel.name.rsplit("-py3", 1)[0]
    with zipfile.ZipFile(wheel) as archive:
        entry_points = ConfigParser()
        entry_points.read_string(archive.read(f"{name}.dist-info/entry_points.txt").decode())
        metadata = archive.read(f"{name}.dist-info/METADATA").decode()
        licence = archive.read(f"{name}.dist-info/licenses/LICENSE").decode()
    assert dict(entry_points["console_scripts"]) == {
        "retain-train": "train:main",
        "retain-evaluate": "evaluate:main",
    }
    assert licence == (ROOT / "LICENSE").read_text()
    assert "License-Expression: MIT" in metadata
    assert "Requires-Python: >=3.11" in metadata


def test_console_scripts_are_installed(clean_python):
    for script in SCRIPTS:
        assert os.access(clean_python.parent / f"retain-{script}", os.X_OK)


def test_buffers_alone_beside_a_foreign_agents_package(clean_python, tmp_path):
    """NumPy is enough, and a project that has its own `agents` keeps it."""
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents" / "__init__.py").write_text("mine = True\n")
    program = """
import sys

import numpy as np
import agents
from buffers import Column, ReplayBuffer

assert agents.mine
buffer = ReplayBuffer(100, state=Column((4,)), seed=0)
states = np.ones((8, 4))
buffer.add(
    {
        "state": states,
        "action": np.arange(8),
        "reward": np.ones(8),
        "next_state": states,
        "done": np.zeros(8, bool),
    }
)
data, _, _ = buffer.sample(32)
assert data["state"].shape == (32, 4)
assert set(data["action"]) <= set(range(8))
print(sys.modules["buffers"].__file__)
"""
    # The child must find the wheel's packages, not the checkout's.
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    imported_from = run(clean_python, "-c", program, cwd=tmp_path, env=env).strip()
    assert Path(imported_from).is_relative_to(clean_python.parents[1])
