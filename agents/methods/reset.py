"""Reset: every task begins with the first weights again. A control, not a remedy.

What a network learns of a task after a reset is what it learns of it alone; what it then knows of
earlier tasks is what their replayed rows teach it anew. With `--reset-optimizer` nothing at all of
the earlier tasks is left but the memory.
"""

from torch import Tensor

from agents.methods.method import Method, State
from agents.model import Model


def reset(model: Model) -> Method:
    """Puts the weights back to where they began, whenever a task begins."""

    def init(theta: Tensor) -> State:
        return {"first": theta.clone()}

    def start_task(theta: Tensor, state: State) -> tuple[Tensor, State]:
        return state["first"].clone(), state

    return Method("reset", init=init, start_task=start_task)
