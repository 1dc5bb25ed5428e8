"""Replay many bags: find them in folders, divide them among machines, replay several at a time in processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import cv2

from fossa_ros.core.errors import FossaError, InputError
from fossa_ros.core.freed_memory import keep_freed_memory
from fossa_ros.evaluation.replay import Replay, ReplayOptions, replay
from fossa_ros.messages.bag_files import METADATA, is_storage, natural, ros1_sentence

_ENDED = threading.Event()  # of a worker process


def is_bag(path: Path) -> bool:
    """Say whether ``path`` is one bag: a folder with its storage or its metadata, or any file."""
    if path.is_file():
        return True
    return path.is_dir() and ((path / METADATA).is_file() or any(map(is_storage, path.iterdir())))


def find_bags(folder: Path) -> list[Path]:
    """Return the bags below ``folder`` in the natural order of their names, without the results of earlier replays.

    Raises:
        InputError: there is none.
    """
    found = sorted(_below(folder), key=lambda bag: [natural(part) for part in map(Path, bag.parts)])
    if not found:
        if (ros1 := next(folder.rglob("*.bag"), None)) is not None:
            raise InputError(ros1_sentence(ros1))
        raise InputError(f"There is no bag below {folder}; give the folder of one, or one that holds some.")
    return found


def _below(folder: Path) -> Iterator[Path]:
    if (folder / "replay.json").is_file():
        return
    if is_bag(folder):
        yield folder
        return
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _below(entry)


def shard_of(text: str, environment=os.environ) -> tuple[int, int]:
    """Return part and number of parts of ``i/n``, i from 0; ``auto`` reads the environment of torchrun or Slurm.

    Raises:
        InputError: neither.
    """
    if text == "auto":
        first = environment.get("SLURM_ARRAY_TASK_MIN", "0")
        for part, count in (("RANK", "WORLD_SIZE"), ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT")):
            if part in environment and count in environment:
                index = int(environment[part]) - (int(first) if part.startswith("SLURM") else 0)
                return _shard(index, int(environment[count]), text)
        raise InputError("--shard auto works under torchrun or in a Slurm array; give --shard i/n elsewhere.")
    part, slash, parts = text.partition("/")
    if not slash or not part.isdecimal() or not parts.isdecimal():
        raise InputError(f"--shard takes i/n with i from 0 to n-1, for example 0/4, or auto; not '{text}'.")
    return _shard(int(part), int(parts), text)


def _shard(index: int, count: int, text: str) -> tuple[int, int]:
    if not 0 <= index < count:
        raise InputError(f"--shard {text}: part {index} of {count} does not exist; parts count from 0.")
    return index, count


def replay_many(
    bags: list[Path],
    outs: list[Path],
    options: ReplayOptions,
    jobs: int,
    on_done: Callable[[Path, Replay | str], None],
    ended: threading.Event,
) -> None:
    """Replay bags in ``jobs`` processes; ``on_done`` receives each bag with its figures, or the error.

    Once ``ended`` is set, the replays under way end in order and no other starts.
    """
    context = multiprocessing.get_context("spawn")  # a fork would copy locks of this process's threads
    with ProcessPoolExecutor(jobs, context, _begin_worker) as pool:
        waiting = {pool.submit(_one, bag, out, options): bag for bag, out in zip(bags, outs, strict=True)}
        workers = list(pool._processes.values()) if hasattr(pool, "_processes") else []
        signalled = False
        while waiting:
            try:
                for future in as_completed(waiting, timeout=0.2):
                    bag = waiting.pop(future)
                    if not future.cancelled():
                        on_done(bag, future.result())
                    break
            except TimeoutError:
                pass
            if ended.is_set() and not signalled:
                signalled = True
                for future in waiting:
                    future.cancel()
                for worker in workers:
                    os.kill(worker.pid, signal.SIGTERM)


def _begin_worker() -> None:
    keep_freed_memory()
    cv2.setNumThreads(1)  # the processes share the processors
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent says when to end
    signal.signal(signal.SIGTERM, lambda *_: _ENDED.set())


def _one(bag: Path, out: Path, options: ReplayOptions) -> Replay | str:
    if _ENDED.is_set():
        return "interrupted"
    try:
        return replay(bag, out, options, ended=_ENDED)
    except FossaError as error:
        return str(error)
