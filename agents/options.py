"""Every choice of the DQN agent, with its default and its meaning."""

import math
from dataclasses import dataclass, fields
from typing import Literal, get_args, get_type_hints

import torch

# More is a slip: networks are in single precision, and PyTorch's whole numbers have an end.
LARGEST: dict[type, float] = {float: 1e38, int: 2**31 - 1}


@dataclass(frozen=True)
class DQNOptions:
    """Options of the DQN agent; an empty `methods` is textbook DQN."""

    methods: str = "distill"
    """Continual-learning methods with their options (`distill:strength=2,ewc`; see
    docs/methods.md), or `none` for plain DQN."""
    network: str = "mlp"
    """Network: `mlp` for vectors, `cnn` for images."""
    hidden: tuple[int, ...] = (64, 64)
    """Widths of the hidden layers."""
    head: Literal["per_task", "single", "conditioned"] = "per_task"
    """A head per task, one head for all, or one head that is told the task."""
    task_identity: Literal["known", "hidden"] = "known"
    """Whether the agent may know which task it is in; hidden needs a single head."""
    double: bool = True
    """Choose the next action by the online network (Double DQN)."""
    dueling: bool = False
    """Separate value and advantage streams."""
    layer_norm: bool = False
    """LayerNorm before each hidden activation."""
    noisy: bool = False
    """Learned noise in the fully connected layers (NoisyNet)."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """What the layers below the heads multiply in: `bfloat16` takes half the time for large
    networks where the processor or GPU has it, and longer for small ones. Parameters and values
    stay in float32."""
    distribution: Literal["expectation", "quantiles", "categories"] = "expectation"
    """Predict the expected return, quantiles of it (QR-DQN) or a histogram (C51)."""
    atoms: int = 51
    """Numbers per action of a distribution."""
    value_limit: float = 5.0
    """C51: the histogram reaches from minus to plus this (scaled) return."""
    discount: float = 0.99
    """Discount factor: what a reward one step later is worth."""
    n_step: int = 5
    """Steps of reward summed before bootstrapping, at most."""
    cut_at_exploration: bool = True
    """End these sums before exploratory actions (Watkins); otherwise they are uncorrected."""
    learning_rate: float = 1e-3
    """Adam's learning rate at the start of a task."""
    learning_rate_end: float = 5e-5
    """Adam's learning rate at the end of a task, reached linearly."""
    adam_epsilon: float = 1e-5
    """Added to the root of Adam's second moment."""
    gradient_clip: float = 10.0
    """Largest Euclidean norm of a gradient; 0: no limit."""
    huber_delta: float = 1.0
    """Where the loss turns from square to linear; 0: square everywhere."""
    target_rate: float = 0.01
    """Share of the network that goes into the target at each target update; 1 copies it."""
    target_update_interval: int = 1
    """Updates between two target updates."""
    exploratory_steps: int = 100
    """Most steps that an exploratory action lasts (epsilon-z-greedy); 1: epsilon-greedy."""
    normalize_observations: bool = True
    """Per-task running mean and variance of observations."""
    scale_rewards: bool = True
    """Per-task reward scale, so that returns reach about 3 in size."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the networks are: `auto` takes a GPU for images if there is one, else the CPU, which
    is faster for small networks. A run keeps what was chosen."""

    def __post_init__(self) -> None:
        """Refuses values that make no sense, one line each."""
        self._check_choices()
        self._check_numbers()
        if self.device == "cuda" and not torch.cuda.is_available():
            raise ValueError("PyTorch finds no GPU here: use --device cpu")
        if not self.hidden or min(self.hidden) < 1:
            raise ValueError(f"hidden needs at least one positive width, got {self.hidden}")
        if self.task_identity == "hidden" and self.head != "single":
            raise ValueError(f"task_identity=hidden needs head=single, got head={self.head}")
        if self.distribution == "categories" and self.atoms < 2:
            raise ValueError(f"a histogram needs at least 2 atoms, got {self.atoms}")

    def _check_choices(self) -> None:
        for name in ("head", "task_identity", "distribution", "device", "precision"):
            known = get_args(get_type_hints(DQNOptions)[name])
            if getattr(self, name) not in known:
                raise ValueError(
                    f"unknown {name} {getattr(self, name)!r}; known are {', '.join(known)}"
                )

    def _check_numbers(self) -> None:
        positive = ("atoms", "n_step", "learning_rate", "adam_epsilon", "target_update_interval")
        for name in (*positive, "exploratory_steps", "target_rate", "value_limit"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        for name in ("learning_rate_end", "gradient_clip", "huber_delta"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        for name in ("discount", "target_rate"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie between 0 and 1, got {getattr(self, name)}")
        for field in fields(DQNOptions):
            given = getattr(self, field.name)
            for number in given if isinstance(given, tuple) else (given,):
                check_size(field.name, number)


def check_size(name: str, value: object, text: str | None = None) -> None:
    """Raise ValueError if it, given as `text`, is a number that PyTorch cannot take."""
    if value == math.inf:
        raise ValueError(f"{name} must be finite, got inf")
    largest = LARGEST.get(type(value))
    if largest is not None and value > largest:  # type: ignore[operator]
        raise ValueError(f"{name} must be at most {largest:,}, got {text or value}")
