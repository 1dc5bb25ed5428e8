"""Weights from a file, a state dict or the Hugging Face hub, checked key for key."""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from os import PathLike
from pathlib import Path

import torch
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from fossa_ros.core.errors import InputError

HUB_FILE = "model.pth"
HUB_OWNER = "venkatsubra"  # of the published checkpoints: fossa-vits, fossa-vitb, and fine-tuned ones
FILE_SUFFIXES = (".pth", ".pt", ".ckpt", ".safetensors")
# By model; weights/nano.md says how they were made.
SHIPPED = {"nano": Path(__file__).parent / "weights" / "nano.safetensors"}
NAMED = 3  # keys that an error lists before it says "and so many more"

Weights = Mapping[str, Tensor] | str | PathLike


def chosen_checkpoint(model: str, checkpoint: Weights | None) -> Weights:
    """Return a checkpoint, or where none was chosen (None, or empty) the one that ships with the package.

    Raises:
        InputError: none was chosen, and none ships for this model.
    """
    if checkpoint:
        return checkpoint
    if model not in SHIPPED:
        raise InputError(
            f"Model {model} has no weights in this package; give checkpoint, a .pth or .safetensors file or a hub name "
            f"such as fossa-vits, or model {' or '.join(SHIPPED)}."
        )
    return SHIPPED[model]


def load_weights(model: nn.Module, weights: Weights) -> None:
    """Copy weights into a model, every key of the one against every key of the other.

    Args:
        model: the network to fill.
        weights: a state dict, the path of a ``.pth`` or ``.safetensors`` file, or a hub name such as
            ``fossa-vits`` or ``owner/repository``.

    Raises:
        InputError: weights that cannot be found or read, or whose keys or shapes are not the model's.
    """
    state, source = read_weights(weights)
    check_keys(model, state, source)
    model.load_state_dict(state)


def read_weights(weights: Weights) -> tuple[dict[str, Tensor], str]:
    """Return the tensors of any accepted kind of weights, and what to call them in a message."""
    if isinstance(weights, Mapping):
        return unwrap(weights, "The state dict"), "The state dict"
    path = Path(weights)
    if not path.is_file():
        path = from_hub(str(weights))
    return unwrap(read_file(path), f"Checkpoint '{path}'"), f"Checkpoint '{path}'"


def from_hub(name: str) -> Path:
    """Fetch a checkpoint through ``huggingface_hub``, which caches it and honours ``HF_HUB_OFFLINE``."""
    looks_like_file = name.endswith(FILE_SUFFIXES) or Path(name).is_absolute() or name.startswith((".", "~"))
    repository = f"{HUB_OWNER}/{name}" if name.startswith("fossa-") and "/" not in name else name
    if looks_like_file or not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        raise InputError(
            f"Checkpoint '{name}' is not a file; give the path of a .pth or .safetensors file, or a hub name "
            "such as fossa-vits."
        )
    try:
        return Path(hf_hub_download(repository, HUB_FILE))
    except RepositoryNotFoundError:
        raise InputError(
            f"The hub has no public repository '{repository}'; correct the name of the checkpoint."
        ) from None
    except (LocalEntryNotFoundError, OfflineModeIsEnabled):
        raise InputError(
            f"Checkpoint '{repository}' is not in the hub cache and the hub cannot be reached; go online once, or "
            f"give the path of a downloaded {HUB_FILE}."
        ) from None
    except EntryNotFoundError:
        raise InputError(
            f"Hub repository '{repository}' holds no {HUB_FILE}; give the path of its file instead."
        ) from None
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise InputError(
            f"Checkpoint '{repository}' could not be fetched ({first_line(error)}); retry, or give the path of a file."
        ) from error


def read_file(path: Path) -> object:
    """Read a checkpoint file; nothing but tensors and plain containers is ever unpickled."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"Checkpoint '{path}' is not a PyTorch file of tensors alone, and nothing else is unpickled; save "
            "its state dict again."
        ) from error
    except (OSError, RuntimeError, EOFError, ValueError, SafetensorError) as error:
        raise InputError(f"Checkpoint '{path}' cannot be read ({first_line(error)}); fetch it again.") from error


def unwrap(content: object, source: str) -> dict[str, Tensor]:
    """Take the state dict out of a checkpoint's ``model`` entry and its keys out of their ``module.`` prefix."""
    if isinstance(content, Mapping) and isinstance(content.get("model"), Mapping):
        content = content["model"]
    if not isinstance(content, Mapping) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        raise InputError(f"{source} holds no state dict of tensors; give a FOSSA checkpoint.")
    return {key.removeprefix("module."): value for key, value in content.items()}


def check_keys(model: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Refuse a state dict with missing, unexpected or misshapen entries, and name the first few."""
    expected = model.state_dict()
    problems = [
        listed("lacks", [key for key in expected if key not in state]),
        listed("has the unexpected", [key for key in state if key not in expected]),
        listed(
            "has the wrong shape of",
            [
                f"{key} {tuple(state[key].shape)} instead of {tuple(value.shape)}"
                for key, value in expected.items()
                if key in state and state[key].shape != value.shape
            ],
        ),
    ]
    problems = [problem for problem in problems if problem]
    if problems:
        raise InputError(f"{source} {', '.join(problems)}; choose the model that it was made for.")


def listed(verb: str, names: list[str]) -> str:
    """Phrase a list of which only the first few are named; empty when there is nothing to say."""
    if not names:
        return ""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{verb} {', '.join(names[:NAMED])}{more}"


def first_line(error: Exception) -> str:
    """Return the first line of an error's message, or its kind where it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
