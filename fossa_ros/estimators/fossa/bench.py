"""How fast a network is on this machine, and what share of the machine's matrix products it reaches."""

from __future__ import annotations

import copy
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from fossa_ros.core.stack import FocusPlane, FocusStack
from fossa_ros.estimators.fossa.devices import describe_device, resolve_device, resolve_precision
from fossa_ros.estimators.fossa.factory import create_model
from fossa_ros.estimators.fossa.predictor import Predictor
from fossa_ros.estimators.fossa.products import Fold, linear

MATMUL = 2048  # rows and columns of the matrix products that stand for the machine's peak


@dataclass(frozen=True)
class Timing:
    """Seconds of many runs.

    Attributes:
        p50: median.
        p95: 95th percentile.
        runs: how many, warm-up not counted.
    """

    p50: float
    p95: float
    runs: int


@dataclass(frozen=True)
class BenchRow:
    """What one network did.

    Attributes:
        model, device, precision: what ran, and where.
        planes, size: N and (H, W) of the stack.
        stack: from uint8 planes to metres, all at once; copies to and from the device included.
        last_plane: the same from the last plane on, the others taken before (streaming).
        gflop: floating-point operations of one stack, 1e9.
        peak_memory: bytes: of the device on a GPU, of the whole process on a CPU.
        peak_share: GFLOP/s reached over those of a plain matrix product in the same precision.
    """

    model: str
    device: str
    precision: str
    planes: int
    size: tuple[int, int]
    stack: Timing
    last_plane: Timing
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
    """Time a network with random weights, which are as fast as trained ones.

    ``progress`` is called after each of the ``warm_up + 2 * runs`` runs.

    Raises:
        InputError: an unknown model, device or precision.
    """
    where = resolve_device(device)
    network = create_model(model, device=where, precision=precision)
    if where.type == "cuda":
        torch.cuda.reset_peak_memory_stats(where)
    predictor = Predictor(network, name=model, compile=compile)
    stack = random_stack(planes, size)

    def whole():
        predictor.depth(stack)

    def streamed() -> float:
        predictor.begin(stack.K, stack.size)
        for plane in stack.planes[:-1]:
            predictor.add_plane(plane)
        synchronise(where)
        began = time.perf_counter()
        predictor.add_plane(stack.planes[-1])
        predictor.finish_depth()
        return time.perf_counter() - began

    for _ in range(warm_up):
        whole()
        streamed()
        progress()
    seconds = [timed(whole, progress) for _ in range(runs)]
    last = [counted(streamed, progress) for _ in range(runs)]
    gflop = count_gflop(network, planes, size)
    timing = summary(seconds)
    return BenchRow(
        model=model,
        device=describe_device(where),
        precision=precision,
        planes=planes,
        size=size,
        stack=timing,
        last_plane=summary(last),
        gflop=gflop,
        peak_memory=peak_memory(where),
        peak_share=gflop / timing.p50 / matmul_gflops(where, precision),
    )


def random_stack(planes: int, size: tuple[int, int]) -> FocusStack:
    """Return a stack of noise: a network's time does not depend on what it sees."""
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
    """Return the seconds of one call that ends with its result on the CPU."""
    began = clock()
    call()
    seconds = clock() - began
    progress()
    return seconds


def counted(call: Callable[[], float], progress: Callable[[], None]) -> float:
    """Return what a call that times itself says."""
    seconds = call()
    progress()
    return seconds


def summary(seconds: list[float]) -> Timing:
    """Return median and 95th percentile."""
    return Timing(float(np.median(seconds)), float(np.percentile(seconds, 95)), len(seconds))


def count_gflop(network: torch.nn.Module, planes: int, size: tuple[int, int]) -> float:
    """Return the floating-point operations (1e9) of one stack, as PyTorch counts them.

    It counts on a device that does nothing, since it does not know the operators that a CPU is given instead.
    """
    network = copy.deepcopy(network).to("meta")
    stack = torch.zeros(1, planes, 3, *size, device="meta")
    focus = torch.ones(1, planes, device="meta")
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network(stack, focus)
    return counter.get_total_flops() / 1e9


def matmul_gflops(device: torch.device, precision: str, runs: int = 10) -> float:
    """Return the GFLOP/s of a square matrix product as the networks' are done on the device: the best of some runs."""
    a = torch.randn(MATMUL, MATMUL, device=device).to(resolve_precision(precision))
    with torch.no_grad():
        product = Fold()(a, linear, a)

        def multiply() -> None:
            product(a)
            synchronise(device)

        best = min(timed(multiply) for _ in range(runs))
    return 2 * MATMUL**3 / best / 1e9


def synchronise(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_memory(device: torch.device) -> int:
    """Return the most bytes in use so far: the device's on a GPU, the process's on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
