"""The weight matrices of a network's hidden layers."""

from torch import Tensor

from agents.model import Model


def hidden_matrices(model: Model, theta: Tensor) -> dict[str, Tensor]:
    """Name -> weights of each hidden layer, [outputs, inputs]; a filter of a convolution is a row.

    The output layers are left out, which the network names in `output_layers`: the scale of the Q
    values lies in them, and they hold the heads of tasks that are not being learned. So are biases,
    LayerNorm and the noise of noisy layers.
    """
    outputs = getattr(model.network.network, "output_layers", ())
    return {
        name: theta[where].view(shape[0], -1)
        for name, (where, shape) in model.parameters().items()
        if name.endswith("weight") and len(shape) > 1 and name.split(".")[0] not in outputs
    }
