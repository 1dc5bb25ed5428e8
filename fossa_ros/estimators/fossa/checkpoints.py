"""Read weights from a file, a state dict or the Hugging Face hub, and check every key."""

from __future__ import annotations

import logging
import pickle
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from os import PathLike
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from fossa_ros.core.errors import InputError

HUB_FILE = "model.pth"
HUB_OWNER = "venkatsubra"  # publisher of fossa-vits, fossa-vitb and fine-tuned checkpoints
FILE_SUFFIXES = (".pth", ".pt", ".ckpt", ".safetensors")
# By model; each file has a model card beside it.
SHIPPED = {"nano": Path(__file__).parent / "weights" / "nano.safetensors"}
MAX_NAMED = 3  # keys that an error message lists

Weights = Mapping[str, Tensor] | str | PathLike


def chosen_checkpoint(model: str, checkpoint: Weights | None) -> Weights:
    """Return ``checkpoint``, or the weights that ship with the package if it is None or empty.

    Raises:
        InputError: ``checkpoint`` is empty, and no weights ship for this model.
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
    """Download a checkpoint with ``huggingface_hub``, which caches it and honours ``HF_HUB_OFFLINE``."""
    import huggingface_hub  # here, since most checkpoints are files, and it takes 0.2 s to import
    from huggingface_hub import errors

    looks_like_file = name.endswith(FILE_SUFFIXES) or Path(name).is_absolute() or name.startswith((".", "~"))
    repository = f"{HUB_OWNER}/{name}" if name.startswith("fossa-") and "/" not in name else name
    if looks_like_file or not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        raise InputError(
            f"Checkpoint '{name}' is not a file; give the path of a .pth or .safetensors file, or a hub name "
            "such as fossa-vits."
        )
    try:
        with without_warnings("huggingface_hub.utils._http"):  # a line for every retry; the error below says enough
            return Path(huggingface_hub.hf_hub_download(repository, HUB_FILE))
    except errors.RepositoryNotFoundError:
        raise InputError(
            f"The hub has no public repository '{repository}'; correct the name of the checkpoint."
        ) from None
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled):
        raise InputError(
            f"Checkpoint '{repository}' is not in the hub cache and the hub cannot be reached; go online once, or "
            f"give the path of a downloaded {HUB_FILE}."
        ) from None
    except errors.EntryNotFoundError:
        raise InputError(
            f"Hub repository '{repository}' holds no {HUB_FILE}; give the path of its file instead."
        ) from None
    except (errors.HfHubHTTPError, errors.HFValidationError, OSError) as error:
        raise InputError(
            f"Checkpoint '{repository}' could not be downloaded ({first_line(error)}); retry, or give a file."
        ) from error


@contextmanager
def without_warnings(name: str) -> Iterator[None]:
    """Let the logger ``name`` report errors only."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


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
