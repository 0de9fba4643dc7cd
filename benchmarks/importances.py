"""Do EWC, SI and MAS find the same weights important as Avalanche 0.6 does?

    pip install avalanche-lib==0.6.0
    python benchmarks/importances.py

Our agent learns a regression (every row ends its episode, so that the TD target is the reward).
Avalanche's plugins are shown the same network, in plain PyTorch, with the same weights and rows:
EWC and MAS after each task, SI at every step. Compared is what the definitions have in common: EWC
by the gradient of the loss at Avalanche's batch size 1 (its importance depends on the batch size,
ours does not), of one task and of two tasks online; MAS at batch size 1; SI before Avalanche scales
and clips it. All without our normalisation. A difference is the largest one of all weights over the
largest importance. Avalanche is no dependency: where it is missing, that is said and nothing done.
"""

import argparse
import importlib.util
import warnings
from collections import defaultdict
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from agents import DQN, DQNOptions

INPUTS, ACTIONS, ROWS, STEPS, LR = 3, 3, 64, 200, 1e-3
OPTIONS: dict[str, Any] = {
    "hidden": (16, 16), "head": "single", "gradient_clip": 0.0, "huber_delta": 0.0,
    "normalize_observations": False, "scale_rewards": False, "adam_epsilon": 1e-8,
}  # fmt: skip
METHODS = {
    "EWC, one task": "ewc:normalize=false,fisher=td,strength=0",
    "EWC, two tasks online": "ewc:normalize=false,fisher=td,strength=0,mode=online,gamma=0.5",
    "MAS": "mas:normalize=false,strength=0",
    "SI": "si:normalize=false,strength=0,damping=1e-3",
}


def rows(seed: int) -> dict[str, np.ndarray]:
    """Random rows that each end an episode, `[1, n, ...]`."""
    rng = np.random.default_rng(seed)
    state = rng.normal(size=(1, ROWS, INPUTS)).astype(np.float32)
    return {
        "state": state,
        "next_state": state,
        "action": rng.integers(ACTIONS, size=(1, ROWS)),
        "reward": rng.normal(size=(1, ROWS)).astype(np.float32),
        "done": np.ones((1, ROWS), bool),
        "discount": np.full((1, ROWS), 0.9, np.float32),
        "task": np.zeros((1, ROWS), np.int32),
    }


def ours(methods: str, seed: int, tasks: int) -> tuple[list[Tensor], Tensor]:
    """Our weights before every update and after the last, and the importances in the end."""
    valid, scale = np.ones((1, ACTIONS), bool), np.ones(1, np.float32)
    space = SimpleNamespace(shape=(INPUTS,), valid=valid, scale=scale)
    options = DQNOptions(methods=methods, **OPTIONS)
    agent = DQN(space, options, [np.random.default_rng(seed)], num_envs=1)
    weights = [agent.state["theta"][0].clone()]
    for task in range(tasks):
        data = rows(100 * seed + task)
        for _ in range(STEPS):
            agent.update(data, np.ones((1, ROWS), np.float32), 1, LR)
            weights.append(agent.state["theta"][0].clone())
        agent.end_task(data)
    return weights, agent.state[f"{methods.partition(':')[0]}.importance"][0]


def network(weights: Tensor) -> nn.Sequential:
    """Our network in plain PyTorch."""
    sizes = [INPUTS, *OPTIONS["hidden"], ACTIONS]
    layers = [nn.Linear(*pair) for pair in pairwise(sizes)]
    model = nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2])
    nn.utils.vector_to_parameters(weights, model.parameters())
    return model


def loss_of(outputs: Tensor, y: Tensor) -> Tensor:
    """Half the squared error of the action taken; a target holds action and reward."""
    taken = outputs.gather(1, y[:, :1].long())[:, 0]
    return 0.5 * (y[:, 1] - taken).square().mean()


def dataset_of(data: dict[str, np.ndarray]) -> list[tuple[Tensor, ...]]:
    """Rows as Avalanche reads them: inputs, target, task label."""
    x = torch.from_numpy(data["state"][0])
    y = torch.from_numpy(np.stack([data["action"][0], data["reward"][0]], 1)).float()
    return [(*pair, torch.tensor(0)) for pair in zip(x, y, strict=True)]


def avalanche_ewc(weights: list[Tensor], seed: int) -> Tensor:
    from avalanche.training.plugins import EWCPlugin

    plugin = EWCPlugin(1.0, mode="online", decay_factor=0.5)
    for task, end in enumerate(weights[STEPS::STEPS]):
        model, data = network(end), dataset_of(rows(100 * seed + task))
        optimizer = torch.optim.Adam(model.parameters())
        found = plugin.compute_importances(model, loss_of, optimizer, data, "cpu", 1)
        plugin.update_importances(found, task)
    return flat(plugin.importances[task])


def avalanche_mas(weights: list[Tensor], seed: int) -> Tensor:
    from avalanche.training.plugins import MASPlugin

    model, experience = network(weights[-1]), SimpleNamespace(dataset=dataset_of(rows(100 * seed)))
    strategy = SimpleNamespace(
        model=model, experience=experience, optimizer=torch.optim.Adam(model.parameters()),
        device="cpu", train_mb_size=1,
    )  # fmt: skip
    return flat(MASPlugin()._get_importance(strategy))


def avalanche_si(weights: list[Tensor], seed: int) -> Tensor:
    from avalanche.training.plugins import SynapticIntelligencePlugin as SI

    model, ewc, path = network(weights[0]), ({}, {}), defaultdict(dict)
    x, y, _ = (torch.stack(column) for column in zip(*dataset_of(rows(100 * seed)), strict=True))
    SI.create_syn_data(model, ewc, path, set())
    SI.init_batch(model, ewc, path, set())
    for after in weights[1:]:
        SI.pre_update(model, path, set())
        model.zero_grad()
        loss_of(model(x), y).backward()
        nn.utils.vector_to_parameters(after, model.parameters())
        SI.post_update(model, path, set())
    SI.update_ewc_data(model, ewc, path, torch.inf, set(), 1, eps=1e-3)
    return flat(ewc[1]).clamp(min=0)  # theirs keeps weights that raised the loss as negative


def flat(named: Any) -> Tensor:
    """Avalanche's named importances as one vector."""
    return torch.cat([value.data.flatten() for value in named.values()])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    args = parser.parse_args()
    if importlib.util.find_spec("avalanche") is None:
        print("Avalanche is not installed: pip install avalanche-lib==0.6.0")
        return
    warnings.simplefilter("ignore")  # of its optional parts
    measures = (avalanche_ewc, avalanche_ewc, avalanche_mas, avalanche_si)
    table = Table("importance", "largest difference", "largest importance, mean")
    for (name, methods), measure in zip(METHODS.items(), measures, strict=True):
        differences, largest = [], []
        for seed in range(args.seeds):
            weights, mine = ours(methods, seed, tasks=2 if "two" in name else 1)
            other = measure(weights, seed)
            largest.append(float(other.max()))
            differences.append(float((mine - other).abs().max()) / largest[-1])
        table.add_row(name, f"{max(differences):.1e}", f"{np.mean(largest):.3g}")
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
