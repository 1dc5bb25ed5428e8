"""Weights: every accepted kind of file, and every way in which one can be wrong."""

from __future__ import annotations

import os
import pickle
import random

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from fossa_ros.core.errors import InputError
from fossa_ros.estimators.fossa import checkpoints
from fossa_ros.estimators.fossa.factory import create_model
from small_fossa import SMALL


class Net(nn.Module):
    """A few parameters."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(3, 4)
        self.second = nn.Linear(4, 2)


@pytest.fixture
def trained():
    torch.manual_seed(1)
    return {key: torch.randn_like(value) for key, value in Net().state_dict().items()}


def loaded(weights):
    model = Net()
    checkpoints.load_weights(model, weights)
    return model.state_dict()


def assert_same(state, expected):
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[key], expected[key]) for key in expected)


@pytest.mark.parametrize("wrap", [False, True])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_reference_pth_with_and_without_wrapping(tmp_path, trained, wrap, prefix):
    content = {prefix + key: value for key, value in trained.items()}
    torch.save({"model": content, "step": 7} if wrap else content, tmp_path / "a.pth")
    assert_same(loaded(tmp_path / "a.pth"), trained)


def test_safetensors_and_state_dict(tmp_path, trained):
    save_file(trained, tmp_path / "a.safetensors")
    assert_same(loaded(str(tmp_path / "a.safetensors")), trained)
    assert_same(loaded(trained), trained)


def test_loading_copies(trained):
    model = Net()
    checkpoints.load_weights(model, trained)
    with torch.no_grad():
        model.first.weight.zero_()
    assert trained["first.weight"].abs().min() > 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: s.pop("first.bias"), "lacks first.bias;"),
        (lambda s: s.update({"third.weight": torch.zeros(1)}), "has the unexpected third.weight;"),
        (lambda s: s.update({"first.bias": torch.zeros(9)}), "wrong shape of first.bias (9,) instead of (4,);"),
        (lambda s: s.clear() or s.update({str(i): torch.zeros(1) for i in range(5)}), "unexpected 0, 1, 2 and 2 more"),
        (lambda s: s.clear(), "holds no state dict"),
        (lambda s: s.update({"first.bias": 3}), "holds no state dict"),
    ],
)
def test_wrong_contents_are_named(tmp_path, trained, change, said):
    change(trained)
    torch.save(trained, tmp_path / "a.pth")
    with pytest.raises(InputError) as caught:
        loaded(tmp_path / "a.pth")
    assert said in str(caught.value) and "a.pth" in str(caught.value)


def test_another_models_checkpoint_is_refused():
    with pytest.raises(InputError, match="choose the model"):
        create_model(SMALL, device="cpu", weights=Net().state_dict())


class Bomb:
    """Unpickling this would make a directory."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def save_pickle(content, path):
    path.write_bytes(pickle.dumps(content, protocol=2))


@pytest.mark.parametrize("save", [torch.save, save_pickle])
def test_nothing_but_tensors_is_unpickled(tmp_path, trained, save):
    save({"model": trained, "extra": Bomb(str(tmp_path / "exploded"))}, tmp_path / "a.pth")
    with pytest.raises(InputError, match="nothing else is unpickled"):
        loaded(tmp_path / "a.pth")
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("name", ["a.pth", "a.safetensors"])
@pytest.mark.parametrize("content", [b"", b"not a checkpoint at all", b"PK\x03\x04 cut off"])
def test_damaged_files(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=r"a\.(pth|safetensors)"):
        loaded(tmp_path / name)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello world\n",
        b"junk",
        b"{}",
        b"\n" * 40,
        b"0.5\n",
        b"# notes\n1 2 3\n",
        *map(random.Random(3).randbytes, (1, 9, 5000)),
    ],
)
def test_a_file_of_another_kind_is_no_checkpoint(tmp_path, content):
    (tmp_path / "junk.pth").write_bytes(content)
    with pytest.raises(InputError, match=r"junk\.pth' is not a PyTorch checkpoint; give a \.pth"):
        loaded(tmp_path / "junk.pth")


@pytest.mark.parametrize("seed", range(40))
def test_a_damaged_pickle_is_a_sentence(tmp_path, seed):
    (tmp_path / "a.pth").write_bytes(b"\x80\x02" + random.Random(seed).randbytes(200))
    with pytest.raises(InputError, match=r"a\.pth' (contains more than tensors|cannot be read)"):
        loaded(tmp_path / "a.pth")


@pytest.mark.parametrize("name", ["absent.pth", "/no/such/file", "a/b/c", "vits", ""])
def test_what_is_neither_file_nor_hub_name(name):
    with pytest.raises(InputError, match="is not a file"):
        loaded(name)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("huge", {}, "model 'huge'"),
        (SMALL, {"precision": "int3"}, "precision 'int3'"),
        (SMALL, {"device": "abacus"}, "device 'abacus'"),
        (SMALL, {"device": "meta"}, "device 'meta'"),
    ],
)
def test_what_create_model_refuses(name, options, said):
    with pytest.raises(InputError, match=said):
        create_model(name, **options)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_missing_gpu_is_an_error_and_auto_says_what_it_chose(caplog):
    with pytest.raises(InputError, match="set device to cpu"):
        create_model(SMALL, device="cuda")
    with caplog.at_level("INFO"):
        model = create_model(SMALL, device="auto")
    assert next(model.parameters()).device.type == "cpu"
    assert "device auto: cpu" in caplog.text
