"""The state of a run in small files, written completely or not at all, and restored exactly."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from fossa_ros.core.errors import InputError
from fossa_ros.io.atomic import replacing

MAX_BYTES = 15 << 20  # of a file
INDEX = "state.json"


def save_state(folder: Path, tensors: dict[str, Tensor], values: dict) -> None:
    """Write tensors and plain values; the previous state stays valid until the new one is complete.

    Args:
        folder: folder of the state, created if necessary.
        tensors: tensors by name, none larger than ``MAX_BYTES``.
        values: JSON values, including ``step``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shards: list[dict[str, Tensor]] = []
    size = MAX_BYTES
    for name, tensor in tensors.items():
        tensor = tensor.detach().cpu().contiguous()
        if size + tensor.nbytes > MAX_BYTES:
            shards.append({})
            size = 0
        shards[-1][name] = tensor
        size += tensor.nbytes
    names = [f"state-{values['step']:08d}-{i}.safetensors" for i in range(len(shards))]
    for name, shard in zip(names, shards, strict=True):
        with replacing(folder / name) as temporary:
            save_file(shard, temporary)
    with replacing(folder / INDEX) as temporary:
        Path(temporary).write_text(json.dumps({**values, "files": names}, indent=1), encoding="utf-8")
    for old in folder.glob("state-*.safetensors"):
        if old.name not in names:
            old.unlink()


def load_state(folder: Path, device: torch.device | str = "cpu") -> tuple[dict[str, Tensor], dict] | None:
    """Read the state that ``save_state`` wrote; None if there is none.

    Raises:
        InputError: the state is incomplete or cannot be read.
    """
    index = folder / INDEX
    if not index.exists():
        return None
    try:
        values = json.loads(index.read_text(encoding="utf-8"))
        tensors = {}
        for name in values.pop("files"):
            tensors.update(load_file(folder / Path(name).name, device=str(device)))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"The training state in '{folder}' cannot be read ({reason}); delete it to start a new run."
        ) from error
    return tensors, values
