"""Published checkpoints on the Hugging Face hub: found in its cache, and fetched into it on request only.

Nothing else in this package downloads: a node that configures has no time for 650 MB, and may have no network.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fossa_ros.core.errors import InputError

HUB_FILE = "model.pth"
HUB_OWNER = "venkatsubra"
PUBLISHED = {"fossa-vits": "vits", "fossa-vitb": "vitb"}  # repository of HUB_OWNER to model
BLOCK = 2**22  # bytes hashed at a time


@dataclass(frozen=True)
class Published:
    """What the hub says of a checkpoint.

    Attributes:
        repository: ``owner/name``.
        size: bytes; None if the hub does not say.
        sha256: hexadecimal; None if the hub does not say.
        licence: as the model card states it; None if it states none.
    """

    repository: str
    size: int | None
    sha256: str | None
    licence: str | None


def repository_of(name: str) -> str:
    """Return ``owner/name`` of a hub name such as ``fossa-vits`` or ``owner/name``.

    Raises:
        InputError: it is not a hub name.
    """
    repository = f"{HUB_OWNER}/{name}" if name.startswith("fossa-") and "/" not in name else name
    if not re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", repository):
        raise InputError(f"'{name}' is not a hub name; give one such as fossa-vits, or owner/repository.")
    return repository


def cached_checkpoint(repository: str) -> Path | None:
    """Return the checkpoint of a repository in the hub's cache; None if it is not there. Never uses the network."""
    from huggingface_hub import try_to_load_from_cache  # here, since it takes 0.2 s to import

    found = try_to_load_from_cache(repository, HUB_FILE)
    return Path(found) if isinstance(found, str) else None


def stated(repository: str) -> Published:
    """Ask the hub about the checkpoint of a repository.

    Raises:
        InputError: there is no such public repository, it holds no checkpoint, or the hub cannot be reached.
    """
    import huggingface_hub

    with hub_errors(repository):
        info = huggingface_hub.HfApi().model_info(repository, files_metadata=True)
    files = {file.rfilename: file for file in info.siblings or ()}
    if HUB_FILE not in files:
        raise no_checkpoint(repository)
    file = files[HUB_FILE]
    card: Any = info.card_data or {}
    licence = card.get("license") or next(
        (tag.removeprefix("license:") for tag in info.tags or () if tag.startswith("license:")), None
    )
    return Published(repository, file.size, file.lfs.sha256 if file.lfs else None, licence)


def fetch_checkpoint(published: Published) -> Path:
    """Download a checkpoint into the hub's cache, unless it is there, and compare its checksum.

    Raises:
        InputError: the hub cannot be reached, or the file has another checksum than the hub states.
    """
    import huggingface_hub

    with hub_errors(published.repository):
        path = Path(huggingface_hub.hf_hub_download(published.repository, HUB_FILE))
    if published.sha256 and (found := checksum(path)) != published.sha256:
        raise InputError(
            f"The checksum of '{path}' is {found} and the hub states {published.sha256}; delete the file and fetch it "
            "again."
        )
    return path


def checksum(path: Path) -> str:
    """Return the SHA-256 of a file, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def no_checkpoint(repository: str) -> InputError:
    """Return the error of a repository without a checkpoint."""
    return InputError(f"Hub repository '{repository}' holds no {HUB_FILE}; give the path of its file instead.")


@contextmanager
def hub_errors(repository: str) -> Iterator[None]:
    """Turn the hub's exceptions into sentences."""
    from huggingface_hub import errors

    try:
        with without_warnings("huggingface_hub.utils._http"):  # a line for every retry; the error below says enough
            yield
    except errors.RepositoryNotFoundError:
        raise InputError(
            f"The hub has no public repository '{repository}'; correct the name of the checkpoint."
        ) from None
    except errors.EntryNotFoundError as error:
        if isinstance(error, errors.LocalEntryNotFoundError):
            raise unreachable(repository) from None
        raise no_checkpoint(repository) from None
    except errors.OfflineModeIsEnabled:
        raise unreachable(repository) from None
    except Exception as error:  # of the HTTP library, which differs from version to version
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise InputError(
            f"Checkpoint '{repository}' could not be fetched ({reason}); retry, or give the path of a downloaded "
            f"{HUB_FILE}."
        ) from error


def unreachable(repository: str) -> InputError:
    """Return the error of a hub that does not answer, or that must not be asked."""
    return InputError(
        f"Checkpoint '{repository}' is not in the hub cache and the hub cannot be reached; go online once, or give "
        f"the path of a downloaded {HUB_FILE}."
    )


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
