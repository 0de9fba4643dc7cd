"""Whether a processor has products in bfloat16, or emulates them, which takes longer."""

import time

import torch

SIDE = 256  # of the matrices of a trial
TRIALS = 7


def slow_precision(precision: str, device: str) -> str | None:
    """Why a precision is not worth its errors here, in words; None where it is.

    Args:
        precision: As of `DQNOptions`.
        device: `cpu` or `cuda`.
    """
    if precision == "float32":
        return None
    if device == "cuda":
        has = torch.cuda.is_bf16_supported(including_emulation=False)
        return None if has else f"this GPU does not multiply in {precision}: leave --precision out"
    times = seconds_of(torch.bfloat16) / seconds_of(torch.float32)
    if times < 1:
        return None
    return (
        f"a product in {precision} takes {times:.1f} times as long as in float32 on this "
        "processor: leave --precision out"
    )


def seconds_of(dtype: torch.dtype) -> float:
    """Of a product of matrices, in the fastest of some trials."""
    matrix, seconds = torch.ones(SIDE, SIDE, dtype=dtype), []
    for _ in range(TRIALS):
        start = time.perf_counter()
        matrix @ matrix
        seconds.append(time.perf_counter() - start)
    return min(seconds)
