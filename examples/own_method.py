"""A continual-learning method of your own: weights are held near their slow average."""

from torch import Tensor

from agents import METHODS, Method
from agents.methods.method import State
from agents.model import Batch, Model
from experiments import Config, Result, train


def slow(model: Model, *, strength: float = 0.1, rate: float = 0.001) -> Method:
    """Half the squared distance to an exponential average of the weights."""

    def penalty(theta: Tensor, state: State, batch: Batch) -> Tensor:
        return 0.5 * strength * (theta - state["average"]).square().sum()

    def after_step(
        theta: Tensor, state: State, before: Tensor, gradient: Tensor, batch: Batch
    ) -> tuple[Tensor, State]:
        return theta, {"average": state["average"].lerp(theta, rate)}

    return Method("slow", lambda theta: {"average": theta}, penalty=penalty, after_step=after_step)


METHODS["slow"] = slow


def main(config: Config) -> Result:
    """Trains with the method, combined with one of ours."""
    result = train(config)
    print(f"retention: {result.metrics['retention']['mean']}")
    return result


if __name__ == "__main__":
    main(Config(envs="CartPole,Acrobot", methods="slow:strength=0.2,distill"))
