"""Speed of a network on this machine, and its share of the machine's matrix product rate."""

from __future__ import annotations

import copy
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from fossa_ros.core.stack import FocusPlane, FocusStack
from fossa_ros.estimators.fossa.devices import describe_device, resolve_device, resolve_precision
from fossa_ros.estimators.fossa.factory import create_model
from fossa_ros.estimators.fossa.predictor import Predictor

MATMUL = 2048  # rows and columns of the matrix products that measure the machine's peak rate


@dataclass(frozen=True)
class Timing:
    """Duration of a run.

    Attributes:
        p50: median, s.
        p95: 95th percentile, s.
        runs: number of runs, warm-up not counted.
    """

    p50: float
    p95: float
    runs: int


@dataclass(frozen=True)
class BenchRow:
    """Figures of one network.

    Attributes:
        model, device, precision: what ran, and where.
        planes, size: N and (H, W) of the stack.
        stack: time from uint8 planes to metres, copies to and from the device included.
        gflop: 1e9 floating-point operations per stack.
        peak_memory: bytes: of the device on a GPU, of the whole process on a CPU.
        peak_share: GFLOP/s divided by those of a plain matrix product in the same precision.
    """

    model: str
    device: str
    precision: str
    planes: int
    size: tuple[int, int]
    stack: Timing
    gflop: float
    peak_memory: int
    peak_share: float


def bench(
    model: str,
    *,
    device: str = "auto",
    precision: str = "fp32",
    planes: int = 5,
    size: tuple[int, int] = (480, 640),
    runs: int = 20,
    warm_up: int = 3,
    compile: bool = False,
    progress: Callable[[], None] = lambda: None,
) -> BenchRow:
    """Time a network with random weights; speed does not depend on them.

    ``progress`` is called after each of the ``warm_up + runs`` runs.

    Raises:
        InputError: an unknown model, device or precision.
    """
    where = resolve_device(device)
    network = create_model(model, device=where, precision=precision)
    if where.type == "cuda":
        torch.cuda.reset_peak_memory_stats(where)
    predictor = Predictor(network, name=model, compile=compile)
    stack = random_stack(planes, size)

    for _ in range(warm_up):
        predictor.depth(stack)
        progress()
    seconds = [timed(lambda: predictor.depth(stack), progress) for _ in range(runs)]
    gflop = count_gflop(network, planes, size)
    timing = summary(seconds)
    return BenchRow(
        model=model,
        device=describe_device(where),
        precision=precision,
        planes=planes,
        size=size,
        stack=timing,
        gflop=gflop,
        peak_memory=peak_memory(where),
        peak_share=gflop / timing.p50 / matmul_gflops(where, precision),
    )


def random_stack(planes: int, size: tuple[int, int]) -> FocusStack:
    """Return a stack of noise; a network's speed does not depend on the images."""
    rng = np.random.default_rng(0)
    distances = np.linspace(0.5, 4.0, planes)
    images = rng.integers(0, 256, (planes, *size, 3), dtype=np.uint8)
    K = np.array([[size[1], 0, size[1] / 2], [0, size[1], size[0] / 2], [0, 0, 1.0]])
    return FocusStack(tuple(FocusPlane(image, d) for image, d in zip(images, distances, strict=True)), K=K)


def timed(
    call: Callable[[], object],
    progress: Callable[[], None] = lambda: None,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Return the duration (s) of one call."""
    began = clock()
    call()
    seconds = clock() - began
    progress()
    return seconds


def summary(seconds: list[float]) -> Timing:
    """Return median and 95th percentile."""
    return Timing(float(np.median(seconds)), float(np.percentile(seconds, 95)), len(seconds))


def count_gflop(network: torch.nn.Module, planes: int, size: tuple[int, int]) -> float:
    """Return the floating-point operations (1e9) of one stack, as PyTorch counts them.

    It counts on the meta device, since it does not know the fused attention of a CPU.
    """
    network = copy.deepcopy(network).to("meta")
    stack = torch.zeros(1, planes, 3, *size, device="meta")
    focus = torch.ones(1, planes, device="meta")
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network(stack, focus)
    return counter.get_total_flops() / 1e9


def matmul_gflops(device: torch.device, precision: str, runs: int = 10) -> float:
    """Return the GFLOP/s of a square matrix product on the device, the best of some runs."""
    a = torch.randn(MATMUL, MATMUL, device=device).to(resolve_precision(precision))
    with torch.no_grad():

        def multiply() -> None:
            F.linear(a, a)
            synchronise(device)

        best = min(timed(multiply) for _ in range(runs))
    return 2 * MATMUL**3 / best / 1e9


def synchronise(device: torch.device) -> None:
    """Wait until the device is idle."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_memory(device: torch.device) -> int:
    """Return the peak of allocated bytes: of the device on a GPU, of the process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
