"""Without its host an adapter says what to install."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from buffers.adapters.missing import how_to_install

ROOT = Path(__file__).parents[3]

MISSING = {
    "stable_baselines3": "import buffers.adapters.sb3",
    "tianshou": "import buffers.adapters.tianshou",
    "torchrl": "import buffers.adapters.torchrl",
    "minari": """
import numpy as np
from buffers.adapters.minari import save_rows
row = np.zeros((1, 2))
save_rows("x", {"state": row, "action": [0], "reward": [0.0], "next_state": row, "done": [False]})
""",
}


EXTRAS = {name: name for name in MISSING} | {"stable_baselines3": "sb3"}


@pytest.mark.parametrize("host", MISSING)
def test_the_error_names_the_extra(host):
    # PyTorch is there for whoever uses Tianshou or TorchRL; a stand-in is imported sooner.
    program = f"""
import sys, types

class Missing:
    def find_spec(name, path=None, target=None):
        if name == "{host}":
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing)
sys.modules["torch"] = types.ModuleType("torch")
sys.modules["tensordict"] = types.SimpleNamespace(TensorDictBase=object)
{MISSING[host]}
"""
    env = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    run = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True)
    last = run.stderr.strip().splitlines()[-1]
    assert last == f"ImportError: {host} is missing: pip install 'retain-rl[{EXTRAS[host]}]'"


def test_a_host_that_is_there_and_broken_says_what_is_wrong_itself():
    broken = ImportError("cannot import name 'Batch' from 'tianshou.data'", name="tianshou.data")
    assert how_to_install(broken, "retain-rl[tianshou]") is broken
