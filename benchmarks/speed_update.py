"""The update alone: rows of NumPy in, TD errors in NumPy out, Retain beside JAX."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peers import Setting, now

SECONDS = 0.1  # of one measurement, of which the fastest counts: others use the machine too


def fastest(call: Callable[[], Any], measurements: int = 30) -> float:
    """Seconds of one call, in the fastest of several measurements."""
    call()
    start = now()
    call()
    calls = max(1, int(SECONDS / (now() - start)))
    found = []
    for _ in range(measurements):
        start = now()
        for _ in range(calls):
            call()
        found.append((now() - start) / calls)
    return min(found)


def retain(setting: Setting, members: int, **options: object) -> float:
    """`DQN.update`, compiled, as the loop calls it."""
    from peers.retain_dqn import config, fill

    from experiments.run import Run

    run = Run(config(setting, Path(), compile="on", seeds=members, **options))
    fill(run, setting.capacity)
    sample = run.memories.sample(setting.batch_size)
    lr = setting.learning_rate
    return fastest(lambda: run.agent.update(sample.data, sample.weight, 1, lr))


def on_gpu(setting: Setting, members: int) -> float:
    """The same on a GPU, where a call takes as long whatever is computed, up to a point."""
    if not torch.cuda.is_available():
        raise ImportError("PyTorch finds no GPU here")
    return retain(setting, members, device="cuda")


def jax(setting: Setting, members: int) -> float:
    """The jitted update of peers/jax_dqn.py, through `vmap` for several members."""
    from peers import jax_dqn
    from peers.jax_dqn import jax as j

    update, init = jax_dqn.update_of(setting), jax_dqn.init
    sizes = (4, setting.hidden, setting.hidden, 2)
    keys = j.random.split(j.random.key(setting.seed), members)
    rows = jax_rows(setting, members)
    if members == 1:
        state, rows = init(keys[0], sizes), tuple(column[0] for column in rows)
    else:
        state, update = j.vmap(lambda key: init(key, sizes))(keys), j.vmap(update)
    once = j.jit(update, donate_argnums=0)

    def call() -> np.ndarray:
        nonlocal state
        state, error = once(state, rows)
        return np.asarray(error)

    return fastest(call)


def jax_rows(setting: Setting, members: int) -> tuple[np.ndarray, ...]:
    """Columns [members, batch, ...]: state, action, reward, next state, end."""
    rng, shape = np.random.default_rng(setting.seed), (members, setting.batch_size)
    state, following = rng.standard_normal((2, *shape, 4), np.float32)
    action, done = rng.integers(2, size=(2, *shape), dtype=np.int32)
    return state, action, np.ones(shape, np.float32), following, done.astype(np.float32)


def products(setting: Setting, members: int) -> float:
    """The matrix products of an update and nothing else, one PyTorch call each.

    Two forward passes, and the gradients of the three layers' weights and of two layers' inputs.
    """
    sizes = [(4, setting.hidden), (setting.hidden, setting.hidden), (setting.hidden, 2)]
    pairs = []
    for layer, (inputs, outputs) in enumerate(sizes):
        obs = torch.randn(setting.batch_size, inputs)
        weight = torch.randn(inputs, outputs)
        error = torch.randn(setting.batch_size, outputs)
        pairs += [(obs, weight), (obs, weight), (obs.T.contiguous(), error)]
        pairs += [(error, weight.T.contiguous())] if layer else []
    work = [(a, b, a @ b) for a, b in pairs] * members

    @torch.inference_mode()
    def call() -> None:
        for a, b, out in work:
            torch.mm(a, b, out=out)

    return fastest(call)


SUBJECTS: dict[str, Callable[[Setting, int], float]] = {
    "matrix products alone": products,
    "JAX, jit": jax,
    "Retain, compiled": retain,
    "Retain, compiled, bfloat16": partial(retain, precision="bfloat16"),
    "Retain, compiled, on a GPU": on_gpu,
}
