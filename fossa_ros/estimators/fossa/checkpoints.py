"""Read weights from a file, a state dict or the cache of the Hugging Face hub, and check every key."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from os import PathLike
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from fossa_ros.core.errors import InputError
from fossa_ros.estimators.fossa.hub import HUB_FILE, cached_checkpoint, repository_of

FILE_SUFFIXES = (".pth", ".pt", ".ckpt", ".safetensors")
MAX_NAMED = 3  # keys that an error message lists

Weights = Mapping[str, Tensor] | str | PathLike


def required(model: str, checkpoint: Weights | None) -> Weights:
    """Return ``checkpoint``.

    Raises:
        InputError: it is None or empty; no weights of FOSSA ship with this package.
    """
    if not checkpoint:
        raise InputError(
            f"Model {model} has no weights in this package; give checkpoint, a .pth or .safetensors file or a hub name "
            "such as fossa-vits, or choose estimator lens_aware, whose weights are included."
        )
    return checkpoint


def load_weights(model: nn.Module, weights: Weights) -> None:
    """Copy weights into a model.

    Args:
        model: the network to fill.
        weights: a state dict, the path of a ``.pth`` or ``.safetensors`` file, or a hub name such as
            ``fossa-vits`` or ``owner/repository``.

    Raises:
        InputError: the weights cannot be found or read, or their keys or shapes differ from the model's.
    """
    state, source = read_weights(weights)
    check_keys(model, state, source)
    model.load_state_dict(state)


def read_weights(weights: Weights) -> tuple[dict[str, Tensor], str]:
    """Return the tensors of any accepted kind of weights, and a name of the source for messages."""
    if isinstance(weights, Mapping):
        return unwrap(weights, "The state dict"), "The state dict"
    path = Path(weights)
    if not path.is_file():
        path = from_hub(str(weights))
    return unwrap(read_file(path), f"Checkpoint '{path}'"), f"Checkpoint '{path}'"


def from_hub(name: str) -> Path:
    """Return the checkpoint of a hub name, which must be in the hub's cache.

    Raises:
        InputError: it is no hub name, or ``fossa weights fetch`` has not fetched it.
    """
    looks_like_file = name.endswith(FILE_SUFFIXES) or Path(name).is_absolute() or name.startswith((".", "~"))
    try:
        repository = None if looks_like_file else repository_of(name)
    except InputError:
        repository = None
    if repository is None:
        raise InputError(
            f"Checkpoint '{name}' is not a file; give the path of a .pth or .safetensors file, or a hub name "
            "such as fossa-vits."
        )
    path = cached_checkpoint(repository)
    if path is None:
        raise InputError(
            f"Checkpoint '{repository}' is not in the hub cache of this user; run 'fossa weights fetch {name}' once, "
            f"or give the path of a downloaded {HUB_FILE}."
        )
    return path


def read_file(path: Path) -> object:
    """Read a checkpoint file; only tensors and plain containers are unpickled."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        if looks_pickled(path):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"Checkpoint '{path}' contains more than tensors, and nothing else is unpickled; save its state dict alone."
        ) from error
    except Exception as error:  # torch's unpickler raises anything on damaged bytes
        raise InputError(f"Checkpoint '{path}' cannot be read ({first_line(error)}); download it again.") from error
    raise InputError(f"Checkpoint '{path}' is not a PyTorch checkpoint; give a .pth or .safetensors file.")


def looks_pickled(path: Path) -> bool:
    """Return whether a file begins as ``torch.save`` writes it: a zip archive, or a pickle of protocol 2 or newer."""
    with path.open("rb") as file:
        return file.read(4).startswith((b"PK\x03\x04", b"\x80"))


def unwrap(content: object, source: str) -> dict[str, Tensor]:
    """Return the state dict of a checkpoint, from its ``model`` entry if it has one, without ``module.`` prefixes."""
    if isinstance(content, Mapping) and isinstance(content.get("model"), Mapping):
        content = content["model"]
    if not isinstance(content, Mapping) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        raise InputError(f"{source} holds no state dict of tensors; give a FOSSA checkpoint.")
    return {key.removeprefix("module."): value for key, value in content.items()}


def check_keys(model: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Raise InputError if a state dict has missing, unexpected or misshapen entries; the message names the first."""
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
    if problems := [problem for problem in problems if problem]:
        raise InputError(f"{source} {', '.join(problems)}; choose the model that it was made for.")


def listed(verb: str, names: list[str]) -> str:
    """Return ``verb`` and the first few names as a phrase, or an empty string if there are no names."""
    if not names:
        return ""
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return f"{verb} {', '.join(names[:MAX_NAMED])}{more}"


def first_line(error: Exception) -> str:
    """Return the first line of an error's message, or its type if it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
