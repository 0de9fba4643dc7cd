"""A DQN in JAX, written to be fast: the whole update is one jitted function, called once per step.

Acting is jitted too; rows are NumPy arrays and the environment is Gymnasium's. Adam is written out
(Kingma & Ba 2015, algorithm 1), so that JAX is all it needs.
"""

import os

# Before the import: one thread, like the others, and nothing to wait for in another one.
os.environ.setdefault(
    "XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
)

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import gymnasium as gym
import jax
import jax.numpy as jnp
import numpy as np

from peers import Outcome, Setting, evaluate, now
from peers.ring import Ring

jax.config.update("jax_cpu_enable_async_dispatch", False)
jax.config.update("jax_platforms", "cpu")

Tree = Any
Batch = tuple[Any, ...]


def initial(key: jax.Array, sizes: tuple[int, ...]) -> Tree:
    """Weights and biases drawn as PyTorch draws them: uniform within 1 / sqrt(inputs)."""
    layers = []
    for inputs, outputs in pairwise(sizes):
        key, weight, bias = jax.random.split(key, 3)
        limit = inputs**-0.5
        draw = partial(jax.random.uniform, minval=-limit, maxval=limit)
        layers.append((draw(weight, (inputs, outputs)), draw(bias, (outputs,))))
    return layers


def q_values(theta: Tree, obs: jax.Array) -> jax.Array:
    """Q values, [batch, actions]."""
    for weight, bias in theta[:-1]:
        obs = jax.nn.relu(obs @ weight + bias)
    weight, bias = theta[-1]
    return obs @ weight + bias


def init(key: jax.Array, sizes: tuple[int, ...]) -> Tree:
    """Everything that learning changes."""
    theta = initial(key, sizes)
    zeros = partial(jax.tree.map, jnp.zeros_like)
    target = jax.tree.map(jnp.copy, theta)
    return {
        "theta": theta, "target": target, "mean": zeros(theta), "square": zeros(theta),
        "updates": jnp.zeros((), jnp.int32),
    }  # fmt: skip


def update_of(setting: Setting) -> Callable[[Tree, Batch], tuple[Tree, jax.Array]]:
    """The update as a function of what changes."""
    return partial(update, setting)


def update(setting: Setting, state: Tree, batch: Batch) -> tuple[Tree, jax.Array]:
    """One gradient step; the new state and the TD error of each row."""
    obs, action, reward, next_obs, done = batch
    following = q_values(state["target"], next_obs).max(1)
    goal = reward + setting.discount * following * (1 - done)

    def loss(theta: Tree) -> tuple[jax.Array, jax.Array]:
        taken = jnp.take_along_axis(q_values(theta, obs), action[:, None], 1)[:, 0]
        error = goal - taken
        size = jnp.abs(error)
        return jnp.where(size < 1, 0.5 * error**2, size - 0.5).mean(), error

    gradient, error = jax.grad(loss, has_aux=True)(state["theta"])
    norm = jnp.sqrt(sum(jnp.sum(g**2) for g in jax.tree.leaves(gradient)))
    factor = jnp.minimum(1.0, setting.gradient_clip / (norm + 1e-6))
    gradient = jax.tree.map(lambda g: g * factor, gradient)
    state = adam(setting, state, gradient)
    copy = state["updates"] % setting.target_interval == 0
    target = jax.tree.map(
        lambda new, old: jnp.where(copy, new, old), state["theta"], state["target"]
    )
    return state | {"target": target}, error


def adam(setting: Setting, state: Tree, gradient: Tree, b1: float = 0.9, b2: float = 0.999) -> Tree:
    """One step of Adam."""
    updates = state["updates"] + 1
    mean = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, state["mean"], gradient)
    square = jax.tree.map(lambda s, g: b2 * s + (1 - b2) * g**2, state["square"], gradient)
    fix_mean, fix_square = 1 - b1**updates, 1 - b2**updates

    def move(theta: jax.Array, m: jax.Array, s: jax.Array) -> jax.Array:
        return theta - setting.learning_rate * (m / fix_mean) / (
            jnp.sqrt(s / fix_square) + setting.adam_epsilon
        )

    theta = jax.tree.map(move, state["theta"], mean, square)
    return state | {"theta": theta, "mean": mean, "square": square, "updates": updates}


def train(setting: Setting) -> Outcome:
    """The script's loop, its functions compiled before the clock starts."""
    rng = np.random.default_rng(setting.seed)
    env = gym.make(setting.env_id)
    inputs, actions = int(np.prod(env.observation_space.shape)), int(env.action_space.n)
    sizes = (inputs, setting.hidden, setting.hidden, actions)
    buffer = Ring(setting.capacity, inputs, rng, np.int32)
    state = init(jax.random.key(setting.seed), sizes)
    obs, _ = env.reset(seed=setting.seed)

    begin = now()
    act = jax.jit(lambda theta, obs: q_values(theta, obs).argmax(-1)).lower(state["theta"], obs)
    act = act.compile()
    step_once = jax.jit(update_of(setting), donate_argnums=0)
    step_once = step_once.lower(state, buffer.zeros(setting.batch_size)).compile()
    start = now()

    updates = 0
    for step in range(setting.steps):
        if rng.random() < setting.epsilon(step):
            action = int(rng.integers(actions))
        else:
            action = int(act(state["theta"], obs))
        next_obs, reward, terminated, truncated, _ = env.step(action)
        buffer.add(obs, action, reward, next_obs, terminated)
        obs = env.reset()[0] if terminated or truncated else next_obs
        if step >= setting.learning_starts:
            state, _ = step_once(state, buffer.sample(setting.batch_size))
            updates += 1
    seconds = now() - start
    env.close()
    score = evaluate(lambda obs: int(act(state["theta"], obs)), setting)
    return Outcome(setting.steps, updates, seconds, [score], compile_seconds=start - begin)
