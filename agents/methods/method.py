"""The five moments at which a continual-learning method may act."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

State = dict[str, Tensor]
Batch = dict[str, Tensor]


@dataclass(frozen=True)
class Method:
    """Pure functions of one member's values; a method fills the moments it needs.

    `theta` is the flat vector of all parameters and `state` the method's own state, with the keys
    that `init` gave it. No method sees the agent, the network or another method.

    Attributes:
        name: Key of METHODS; prefixes the method's state in the learner's state.
        init: `init(theta) -> state`, before the first step.
        loss: `loss(theta, state, batch, q) -> scalar`, added to the TD loss. `q` are the network's
            Q values of the batch's states, [batch, actions], so that no second pass is needed.
        gradient: `gradient(gradient, theta, state, batch) -> gradient`, before clipping.
        after_step: `after_step(theta, state, before, gradient, batch) -> (theta, state)`; `before`
            is the vector before the step.
        end_task: `end_task(theta, state, samples) -> (theta, state)`; `samples` are rows of the
            task that ends.
        needs_q: Whether rows of ended tasks must carry `q`, the Q values of the last switch (NaN
            where there are none: rows of the running task, actions the task does not have).
    """

    name: str
    init: Callable[[Tensor], State] = lambda theta: {}
    loss: Callable[[Tensor, State, Batch, Tensor], Tensor] | None = None
    gradient: Callable[[Tensor, Tensor, State, Batch], Tensor] | None = None
    after_step: Callable[[Tensor, State, Tensor, Tensor, Batch], tuple[Tensor, State]] | None = None
    end_task: Callable[[Tensor, State, Batch], tuple[Tensor, State]] | None = None
    needs_q: bool = False

    def own(self, state: State) -> State:
        """The method's part of the learner's state, under the method's own names."""
        prefix = f"{self.name}."
        return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}

    def put(self, state: State, own: State) -> State:
        """The learner's state with the method's part replaced."""
        return state | {f"{self.name}.{key}": value for key, value in own.items()}
