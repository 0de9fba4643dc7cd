"""Layers that PyTorch does not have: with learned noise, and with products in bfloat16."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class BFloat16Linear(nn.Linear):
    """A linear layer whose products are in bfloat16; all that it takes and gives is as before."""

    def forward(self, x: Tensor) -> Tensor:
        """Applies the layer, [batch, inputs] -> [batch, outputs]."""
        return product(x, self.weight, bfloat16=True) + self.bias


class BFloat16Conv2d(nn.Conv2d):
    """The same for a convolution."""

    bias: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """Applies the layer, [batch, channels, height, width] -> [batch, filters, ...]."""
        made = functional.conv2d(x.bfloat16(), self.weight.bfloat16(), None, self.stride)
        return made.to(x.dtype) + self.bias[:, None, None]


def product(x: Tensor, weight: Tensor, bfloat16: bool) -> Tensor:
    """Rows times a weight matrix, [batch, inputs], [outputs, inputs] -> [batch, outputs]."""
    if not bfloat16:
        return x @ weight.T
    return functional.linear(x.bfloat16(), weight.bfloat16()).to(x.dtype)


class NoisyLinear(nn.Module):
    """A linear layer with learned noise (Fortunato et al. 2018, arXiv 1706.10295, equations 9-11).

    The noise is an input of the network, drawn by the agent. At zero noise the layer uses its mean
    weights. With `bfloat16` its product is in bfloat16. Deviation: none; sigma starts at
    0.5 / sqrt(inputs), as in the paper's section 3.2.
    """

    def __init__(self, inputs: int, outputs: int, bfloat16: bool = False) -> None:
        super().__init__()
        self.bfloat16_products = bfloat16
        self.weight = nn.Parameter(torch.empty(outputs, inputs))
        self.bias = nn.Parameter(torch.empty(outputs))
        self.weight_sigma = nn.Parameter(torch.empty(outputs, inputs))
        self.bias_sigma = nn.Parameter(torch.empty(outputs))
        self.noise_in: Tensor
        self.noise_out: Tensor
        self.register_buffer("noise_in", torch.zeros(inputs))
        self.register_buffer("noise_out", torch.zeros(outputs))

    def initial(self, generator: torch.Generator) -> dict[str, Tensor]:
        """The paper's initial values."""
        outputs, inputs = self.weight.shape
        bound = inputs**-0.5
        mean = (2 * torch.rand(outputs, inputs + 1, generator=generator) - 1) * bound
        return {
            "weight": mean[:, 1:],
            "bias": mean[:, 0],
            "weight_sigma": torch.full((outputs, inputs), 0.5 * bound),
            "bias_sigma": torch.full((outputs,), 0.5 * bound),
        }

    def forward(self, x: Tensor) -> Tensor:
        """Applies the layer, [batch, inputs] -> [batch, outputs]."""
        into, out = squashed(self.noise_in), squashed(self.noise_out)
        weight = self.weight + self.weight_sigma * (out[:, None] * into)
        return product(x, weight, self.bfloat16_products) + self.bias + self.bias_sigma * out


def squashed(noise: Tensor) -> Tensor:
    """The paper's f, which shapes the noise of inputs and outputs."""
    return noise.sign() * noise.abs().sqrt()
