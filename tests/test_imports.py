"""The rules that hold the parts apart: who may import whom, and where random numbers come from."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("buffers", "envs", "agents", "experiments")
SCRIPTS = tuple(path.stem for path in ROOT.glob("*.py"))

# What each part may import beside itself and the standard library. Nothing imports upwards.
MAY_IMPORT = {
    "buffers": {"numpy", "numba"},  # numba only makes it faster: nothing needs it
    "envs": {"gymnasium", "numpy"},
    "agents": {"torch", "numpy", "scipy", "buffers"},
}
# An adapter is imported only by somebody who has the library that it adapts to.
ADAPTERS = ROOT / "buffers" / "adapters"
# Somebody else's agents in our loop: these files import an optional library where they use it.
GUESTS = {
    ROOT / "agents" / "sb3_model.py": {"buffers", "gymnasium", "sb3_contrib", "stable_baselines3"},
    ROOT / "envs" / "pool.py": {"envpool"},
}


def sources(*names: str) -> list[Path]:
    """Every Python file of these packages and scripts."""
    found = [path for name in names for path in sorted((ROOT / name).rglob("*.py"))]
    return found + [path for name in names if (path := ROOT / f"{name}.py").exists()]


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """The line and absolute dotted name of every import in a file, also inside functions."""
    package = path.relative_to(ROOT).parent.parts
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parent = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join((*parent, *filter(None, [node.module])))
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)


def imports_not_allowed(path: Path, allowed: set[str]) -> list[str]:
    allowed = allowed | set(sys.stdlib_module_names) | {path.relative_to(ROOT).parts[0]}
    return [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for line, name in imports(path)
        if name.split(".")[0] not in allowed
    ]


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_a_package_imports_only_what_lies_below_it(package):
    assert sources(package), f"{package}/ has no Python files"
    wrong = []
    for path in sources(package):
        if ADAPTERS not in path.parents:
            wrong += imports_not_allowed(path, MAY_IMPORT[package] | GUESTS.get(path, set()))
    assert not wrong, "\n".join(wrong)


def test_adapters_import_nothing_of_ours_but_buffers():
    ours = {*PACKAGES, *SCRIPTS} - {"buffers"}
    for path in ADAPTERS.rglob("*.py"):
        assert not {name.split(".")[0] for _, name in imports(path)} & ours, path


def test_nobody_imports_the_adapters_but_guests():
    for path in sources(*PACKAGES, *SCRIPTS):
        if ADAPTERS not in path.parents and path not in GUESTS:
            assert not [n for _, n in imports(path) if n.startswith("buffers.adapters")], path


def test_no_package_imports_a_script():
    for path in sources(*PACKAGES):
        used = {name.split(".")[0] for _, name in imports(path)}
        assert not used & set(SCRIPTS), f"{path} imports {used & set(SCRIPTS)}"


def test_scripts_are_thin():
    """A script parses the command line and calls experiments: it needs no other part of ours."""
    for path in sources(*SCRIPTS):
        used = {name.split(".")[0] for _, name in imports(path)}
        assert not used & ({*PACKAGES, *SCRIPTS} - {"experiments"}), path


def test_importing_has_no_side_effects(tmp_path):
    """The working directory stays, and a package's user does not wait for what he does not use."""
    program = """
import os, sys
before = os.getcwd()
import buffers
assert not {"torch", "gymnasium", "numba", "scipy"} & set(sys.modules)
import envs
assert not {"torch", "numba", "scipy"} & set(sys.modules)
import agents, experiments.command
assert not {"stable_baselines3", "sb3_contrib"} & set(sys.modules)
assert not {"matplotlib", "scipy", "tensorboard", "moviepy"} & set(sys.modules)
assert os.getcwd() == before, os.getcwd()
"""
    env = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=env, check=True)
    assert not list(tmp_path.iterdir())


# What an adapter may import beside NumPy: its host, and what that is built on. One that is not
# named here may import NumPy only.
HOSTS = {
    "cleanrl": {"gymnasium", "torch"},
    "minari": {"minari"},
    "sb3": {"gymnasium", "sb3_contrib", "stable_baselines3", "torch"},
    "tianshou": {"tianshou", "torch"},
    "torchrl": {"tensordict", "torch", "torchrl"},
}


def test_an_adapter_imports_its_own_host_only():
    wrong = []
    for path in sorted(ADAPTERS.rglob("*.py")):
        host = HOSTS.get(path.relative_to(ADAPTERS).parts[0].removesuffix(".py"), set())
        wrong += imports_not_allowed(path, MAY_IMPORT["buffers"] | host)
    assert not wrong, "\n".join(wrong)


def test_a_host_is_imported_only_where_it_is_used(tmp_path):
    """`buffers.adapters.minari` needs Minari for writing a data set, not for reading one."""
    program = f"""
import sys
import buffers, buffers.adapters, buffers.adapters.infos, buffers.adapters.minari
import buffers.adapters.slots
assert not {set().union(*HOSTS.values())!r} & set(sys.modules)
"""
    env = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=env, check=True)


# Global random state makes a result depend on what else ran; a pickle runs the code of whoever
# made the file.
FORBIDDEN_MODULES = {"random", "pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
FORBIDDEN_NAMES = {
    "torch.save",
    "torch.load",
    "torch.seed",
    "torch.manual_seed",
    "torch.random.manual_seed",
    "torch.cuda.manual_seed",
    "torch.cuda.manual_seed_all",
    "torch.set_rng_state",
}
TORCH_DRAWS = {
    "torch.bernoulli",
    "torch.multinomial",
    "torch.normal",
    "torch.rand",
    "torch.randint",
    "torch.randn",
    "torch.randperm",
}


def is_forbidden(name: str) -> bool:
    """Whether a dotted name is a pickle or uses a random state that belongs to nobody."""
    if name.startswith("numpy.random."):  # default_rng and the classes make generators
        draw = name.split(".")[2]
        return draw != "default_rng" and not draw[0].isupper()
    return name.split(".")[0] in FORBIDDEN_MODULES or name in FORBIDDEN_NAMES


def names_used(tree: ast.Module) -> Iterator[tuple[ast.AST, str]]:
    """Every import and every dotted use of an import, by its full name: np.x is numpy.x."""
    meaning: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node, alias.name
                first = alias.name.split(".")[0]
                meaning[alias.asname or first] = alias.name if alias.asname else first
        elif isinstance(node, ast.ImportFrom) and not node.level:
            for alias in node.names:
                yield node, f"{node.module}.{alias.name}"
                meaning[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    for node in ast.walk(tree):
        parts, inner = [], node
        while isinstance(inner, ast.Attribute):
            parts.append(inner.attr)
            inner = inner.value
        if isinstance(inner, ast.Name) and inner.id in meaning:
            yield node, ".".join([meaning[inner.id], *reversed(parts)])


def random_or_pickle(source: str) -> list[str]:
    """What a program says that our rules forbid, as 'line: name'."""
    tree = ast.parse(source)
    used = list(names_used(tree))
    wrong = [(node.lineno, name) for node, name in used if is_forbidden(name)]
    full_name = {id(node): name for node, name in used}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            keywords = {keyword.arg for keyword in node.keywords}
            name = full_name.get(id(node.func), "")
            if name in TORCH_DRAWS and "generator" not in keywords:
                wrong.append((node.lineno, f"{name} without a generator"))
            if name == "numpy.load" and "allow_pickle" in keywords:
                wrong.append((node.lineno, "numpy.load(allow_pickle=...)"))
    return [f"{line}: {name}" for line, name in sorted(set(wrong))]


def test_no_global_randomness_and_no_pickle():
    wrong = [
        f"{path.relative_to(ROOT)}:{finding}"
        for path in sources(*PACKAGES, *SCRIPTS, "examples")
        for finding in random_or_pickle(path.read_text())
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "program",
    [
        "import random",
        "from random import choice",
        "import pickle as p",
        "import numpy as np\nnp.random.seed(0)",
        "import numpy as np\nx = np.random.rand(3)",
        "from numpy.random import randint",
        "from numpy import random\nrandom.shuffle([1])",
        "import numpy as np\nnp.load('x', allow_pickle=True)",
        "import torch as th\nth.manual_seed(0)",
        "from torch import load",
        "import torch\ntorch.cuda.manual_seed_all(1)",
        "import torch\ntorch.randn(3)",
    ],
)
def test_the_check_finds(program):
    assert random_or_pickle(program)


@pytest.mark.parametrize(
    "program",
    [
        "import numpy as np\nrng: np.random.Generator = np.random.default_rng(0)\nrng.random(3)",
        "from numpy.random import PCG64, SeedSequence",
        "import torch\ng = torch.Generator().manual_seed(1)\ntorch.randn(3, generator=g)",
        "from safetensors.torch import load_file, save_file",
    ],
)
def test_the_check_accepts(program):
    assert not random_or_pickle(program)
