"""Where a network runs and in which number format."""

from __future__ import annotations

import logging

import torch

from fossa_ros.core.errors import InputError

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

LOG = logging.getLogger(__name__)


def resolve_device(device: str | torch.device) -> torch.device:
    """Return the device to compute on; ``auto`` selects the first GPU, else the CPU, and logs the choice.

    Raises:
        InputError: the device does not exist on this machine, or PyTorch does not know it.
    """
    if str(device) == "auto":
        chosen = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        LOG.info("device auto: %s", describe_device(chosen))
        return chosen
    try:
        chosen = torch.device(device)
    except RuntimeError:
        raise InputError(f"device '{device}' is not known; give auto, cpu, cuda or cuda:INDEX.") from None
    if chosen.type not in ("cpu", "cuda"):
        raise InputError(f"device '{device}' is not supported; give auto, cpu, cuda or cuda:INDEX.")
    if chosen.type == "cuda":
        if not torch.cuda.is_available():
            raise InputError(
                f"device '{device}' was asked for but PyTorch sees no GPU; install its driver and a CUDA build "
                "of PyTorch, or set device to cpu."
            )
        if (chosen.index or 0) >= torch.cuda.device_count():
            raise InputError(f"device '{device}' does not exist; this machine has {torch.cuda.device_count()} GPU(s).")
    return chosen


def describe_device(device: torch.device) -> str:
    """Return a device's name with its hardware."""
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return f"cpu ({torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()})"


def resolve_precision(precision: str) -> torch.dtype:
    """Return the type of weights and activations.

    Raises:
        InputError: not one of fp32, bf16, fp16.
    """
    if precision not in PRECISIONS:
        raise InputError(f"precision '{precision}' is not known; give one of {', '.join(PRECISIONS)}.")
    return PRECISIONS[precision]


def gpu_memory(device: torch.device) -> tuple[int, int] | None:
    """Return (used, total) bytes of a GPU, all processes; None for a CPU."""
    if device.type != "cuda":
        return None
    free, total = torch.cuda.mem_get_info(device)
    return total - free, total
