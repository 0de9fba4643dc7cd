"""The moments at which a continual-learning method may act."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from agents.model import Batch

State = dict[str, Tensor]
Ruled = Tensor | tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Method:
    """Pure functions of one member's values; a method fills the moments it needs.

    `theta` is the flat vector of all parameters and `state` the method's own state, with the keys
    that `init` gave it. `batch` is prepared (see `agents.model.Model`). No method sees the agent or
    another method; what needs the network is built from a `Model`.

    Attributes:
        name: Key of METHODS; prefixes the method's state in the learner's state.
        init: `init(theta) -> state`, before the first step.
        loss: `loss(theta, state, batch, q) -> scalar`, added to the TD loss. `q` are the network's
            Q values of the batch's states, [batch, actions], so that no second pass is needed.
        penalty: `penalty(theta, state, batch) -> scalar`, a term of the parameters rather than of
            data. Its gradient joins after the gradient rules, so that those, and methods that
            measure what the task wants, see the data's gradient alone.
        gradient: `gradient(gradient, theta, state, batch) -> gradient`, of the data's gradient,
            before clipping. A rule that adds to every gradient, so that a changed one says nothing,
            returns `(gradient, acted)`: also where, or whether, it took anything away, bool.
        after_step: `after_step(theta, state, before, gradient, batch) -> (theta, state)`; `before`
            is the vector before the step, `gradient` the data's, ruled and not clipped. A method
            that only measures returns `theta` itself, and is not judged by how far it moved it.
        end_task: `end_task(theta, state, samples) -> (theta, state)`; `samples` are prepared rows
            of the task that ends. Called for one member after another, never compiled, also after
            the last task; what it makes of `theta` is what that task is judged by.
        start_task: `start_task(theta, state) -> (theta, state)`, before a task's first step, also
            the first task's; called as `end_task` is. What serves only the next task belongs here.
        needs_q: Whether rows of ended tasks must carry `q`, the Q values of the switch at which
            their task ended (NaN where there are none: rows of the running task, actions the task
            does not have).
        needs_tasks: Whether the method must be told which task a row is of, so that it cannot
            work where task identity is hidden.
        needs_old: Whether the method does nothing without rows of earlier tasks.
        reserves_old: Whether rows of earlier tasks serve this method and stay out of the TD loss.
    """

    name: str
    init: Callable[[Tensor], State] = lambda theta: {}
    loss: Callable[[Tensor, State, Batch, Tensor], Tensor] | None = None
    penalty: Callable[[Tensor, State, Batch], Tensor] | None = None
    gradient: Callable[[Tensor, Tensor, State, Batch], Ruled] | None = None
    after_step: Callable[[Tensor, State, Tensor, Tensor, Batch], tuple[Tensor, State]] | None = None
    end_task: Callable[[Tensor, State, Batch], tuple[Tensor, State]] | None = None
    start_task: Callable[[Tensor, State], tuple[Tensor, State]] | None = None
    needs_q: bool = False
    needs_tasks: bool = False
    needs_old: bool = False
    reserves_old: bool = False

    def own(self, state: State) -> State:
        """The method's part of the learner's state, under the method's own names."""
        prefix = f"{self.name}."
        return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}

    def put(self, state: State, own: State) -> State:
        """The learner's state with the method's part replaced."""
        return state | {f"{self.name}.{key}": value for key, value in own.items()}


def check_positive(method: str, **options: float) -> None:
    """Raises ValueError for an option that is 0; the command line has refused what is below."""
    for option, value in options.items():
        if value == 0:
            raise ValueError(f"{method}:{option} must be positive, got 0")
