"""What a CPU does in its own way gives what PyTorch gives: packed products, and attention in tiles."""

from __future__ import annotations

import copy
import io

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fossa_ros.estimators.fossa.products import Fold, PackedProduct, Product, joined, linear, scaled
from fossa_ros.estimators.fossa.self_attention import attend_in_tiles


@pytest.fixture(autouse=True)
def inference():
    with torch.no_grad():
        yield


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="PyTorch was built without oneDNN")
@pytest.mark.parametrize("shape", [(7,), (1, 300), (2, 3, 50)])
def test_packed_products_are_products(shape):
    weight, bias = random(96, 40, seed=1) / 6, random(96, seed=2)
    plain, packed = Product(weight, bias), PackedProduct(weight, bias)
    x, other = random(*shape, 40), random(*shape, 96, seed=3)
    strided = random(*shape[:-1], shape[-1] + 5, 40)[..., 5:, :]  # as tiles of a stack are
    for a in (x, strided):
        for name, more in (("__call__", ()), ("gelu", ()), ("plus", (other,)), ("times", (other,))):
            expected = getattr(plain, name)(a, *more)
            assert expected.std() > 0.3
            torch.testing.assert_close(getattr(packed, name)(a, *more), expected, atol=1e-5, rtol=1e-5)


def test_a_fold_follows_its_parameters():
    layer, gain, fold = nn.Linear(8, 6), nn.Parameter(random(6)), Fold()
    x = random(5, 8, seed=4)

    def check():
        result = fold(x, scaled, layer.weight, layer.bias, gain)(x.to(layer.weight.dtype))
        torch.testing.assert_close(result, gain * layer(x.to(layer.weight.dtype)), atol=1e-5, rtol=1e-5)
        return result

    first = check()
    assert fold(x, scaled, layer.weight, layer.bias, gain) is fold(x, scaled, layer.weight, layer.bias, gain)
    layer.load_state_dict({"weight": 2 * layer.weight, "bias": layer.bias + 1})  # in place
    assert (check() - first).abs().max() > 0.1
    gain.mul_(3)
    check()
    layer.weight = nn.Parameter(random(6, 8, seed=5))  # another tensor
    check()
    for _ in range(2):  # memory of the old storage is not taken for the new one
        layer.weight.data = layer.weight.data.clone().neg_()
        check()


def test_folds_are_neither_saved_nor_shared_by_copies():
    module = nn.Linear(8, 8)
    module.fold = Fold()
    x = random(3, 8)
    module.fold(x, linear, module.weight, module.bias)
    twin = copy.deepcopy(module)
    twin.weight.neg_()
    again = twin.fold(x, linear, twin.weight, twin.bias)(x)
    torch.testing.assert_close(again, twin(x), atol=1e-6, rtol=1e-5)
    torch.save(module, file := io.BytesIO())
    assert file.tell() < 10_000


def test_what_records_operations_gets_plain_products():
    layers = [nn.Linear(8, 4, bias=False) for _ in range(3)]
    fold, x = Fold(), random(2, 8)
    with torch.enable_grad():
        product = fold(x, joined, *(layer.weight for layer in layers))
        assert type(product) is Product
        product(x).sum().backward()
    torch.testing.assert_close(layers[1].weight.grad, x.sum(0).expand(4, 8))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-6), (torch.bfloat16, 2e-2)])
def test_attention_in_tiles_is_attention(dtype, tolerance):
    q, k, v = (random(2, 3, 600, 16, seed=seed).to(dtype) for seed in (6, 7, 8))
    k = k + 4  # what all keys share changes nothing
    expected = F.scaled_dot_product_attention(q.float(), k.float(), v.float())
    assert expected.std() > 0.05
    torch.testing.assert_close(attend_in_tiles(q, k, v).float(), expected, atol=tolerance, rtol=0)
