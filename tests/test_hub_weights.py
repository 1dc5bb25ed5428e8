"""Published checkpoints: the real hub client against a hub on this machine, its cache, and what never downloads."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading

import pytest
import torch

from fossa_ros.core.errors import InputError
from fossa_ros.estimators.fossa.checkpoints import read_weights
from fossa_ros.estimators.fossa.hub import repository_of

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(http.server.ThreadingHTTPServer):
    """A hub with one repository, ``venkatsubra/fossa-vits``, and an empty one, ``someone/empty``."""

    def __init__(self, content: bytes):
        super().__init__(("127.0.0.1", 0), Answers)
        self.content, self.sha256 = content, hashlib.sha256(content).hexdigest()
        self.stated, self.licence = self.sha256, "apache-2.0"
        self.asked: list[str] = []

    def card(self, repository: str) -> dict | None:
        file = {"rfilename": "model.pth", "size": len(self.content)}
        file |= {"lfs": {"sha256": self.stated, "size": len(self.content), "pointerSize": 134}}
        siblings = {"venkatsubra/fossa-vits": [file], "someone/empty": [{"rfilename": "README.md", "size": 3}]}
        if repository not in siblings:
            return None
        card = {"license": self.licence} if self.licence else {}
        return {"id": repository, "sha": COMMIT, "siblings": siblings[repository], "tags": [], "cardData": card}


class Answers(http.server.BaseHTTPRequestHandler):
    def log_message(self, *words):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        hub, path = self.server, self.path.partition("?")[0]
        hub.asked.append(f"{self.command} {path}")
        if path.startswith("/api/models/"):
            card = hub.card(path.removeprefix("/api/models/"))
            said = json.dumps(card or {"error": "Repository not found"}).encode()
            self.answer(200 if card else 404, said, "application/json")
        elif path == "/venkatsubra/fossa-vits/resolve/main/model.pth":
            self.answer(200, hub.content, "application/octet-stream")
        else:
            self.answer(404, b"", "text/plain")

    def answer(self, status, content, kind):
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Content-Type", kind)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{self.server.sha256}"')
        if status == 404:
            self.send_header("X-Error-Code", "RepoNotFound")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "model.pth"
    torch.save({"model": {"a.weight": torch.arange(1000.0)}}, path)
    return path.read_bytes()


@pytest.fixture
def hub(content):
    hub = Hub(content)
    thread = threading.Thread(target=hub.serve_forever)
    thread.start()
    yield hub
    hub.shutdown()
    thread.join()
    hub.server_close()


@pytest.fixture
def fossa(tmp_path):
    """Run ``fossa`` with an own cache against a hub; None is one that does not answer."""

    def run(hub, *arguments):
        address = f"http://127.0.0.1:{hub.server_port}" if hub else "http://127.0.0.1:9"
        environ = {**os.environ, "HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "cache"), "COLUMNS": "200"}
        environ |= {"HF_HUB_DISABLE_TELEMETRY": "1", "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
        program = [sys.executable, "-m", "fossa_ros.commands.cli", *arguments]
        return subprocess.run(program, env=environ, capture_output=True, text=True, timeout=100)

    return run


def test_fetched_once_it_is_found_in_the_cache_without_the_hub(hub, fossa, tmp_path):
    missing = fossa(hub, "weights", "list")
    assert "not here: fossa weights fetch fossa-vits" in missing.stdout and not hub.asked
    done = fossa(hub, "weights", "fetch", "fossa-vits")
    assert done.returncode == 0, done.stderr
    assert f"venkatsubra/fossa-vits: {len(hub.content) / 1e6:.1f} MB" in done.stdout
    assert "licence: apache-2.0" in done.stdout and f"sha256: {hub.sha256}" in done.stdout
    path = done.stdout.split("verified: ")[1].strip()
    assert path.startswith(str(tmp_path)) and read_weights(path)[0]["a.weight"].tolist() == list(range(1000))
    assert path.split("/snapshots")[0] in fossa(None, "weights", "list").stdout
    refused = fossa(None, "export", str(tmp_path / "vits.onnx"), "--model", "vits", "--checkpoint", "fossa-vits")
    assert "lacks" in refused.stderr  # found in the cache and read; this one is not of a FOSSA network


def test_a_dry_run_downloads_nothing(hub, fossa):
    hub.licence = None
    done = fossa(hub, "weights", "fetch", "fossa-vits", "--dry-run")
    assert done.returncode == 0 and "not stated by its model card" in done.stdout
    assert all(asked.startswith("GET /api/") for asked in hub.asked)


def test_a_file_with_another_checksum_is_refused(hub, fossa):
    hub.stated = "0" * 64
    done = fossa(hub, "weights", "fetch", "fossa-vits")
    assert done.returncode == 1 and "delete the file and fetch it again" in done.stderr


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("fossa-none", "no public repository 'venkatsubra/fossa-none'"),
        ("someone/empty", "holds no model.pth"),
        ("a/b/c", "'a/b/c' is not a hub name"),
    ],
)
def test_what_the_hub_does_not_have_is_one_sentence(hub, fossa, name, words):
    done = fossa(hub, "weights", "fetch", name)
    assert done.returncode == 1 and words in done.stderr and done.stderr.count("\n") == 1


def test_a_hub_that_cannot_be_reached_is_one_sentence(fossa):
    done = fossa(None, "weights", "fetch", "fossa-vits")
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "could not be fetched" in done.stderr or "cannot be reached" in done.stderr


def test_nothing_but_fetch_downloads(hub, fossa, monkeypatch, tmp_path):
    """An estimator whose checkpoint is not here is refused at once, with the command that fetches it."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        InputError, match=r"not in the hub cache of this user; run 'fossa weights fetch fossa-vits' once"
    ):
        read_weights("fossa-vits")
    refused = fossa(hub, "export", str(tmp_path / "vits.onnx"), "--model", "vits", "--checkpoint", "fossa-vits")
    assert refused.returncode == 1 and "run 'fossa weights fetch fossa-vits' once" in refused.stderr
    assert not hub.asked


def test_names_of_published_checkpoints_have_their_owner():
    assert repository_of("fossa-vitb") == "venkatsubra/fossa-vitb"
    assert repository_of("someone/else") == "someone/else"
