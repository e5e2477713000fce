"""Arguments that the facts in the reference are tried on: arrays for operands, away from jumps and the ends of domains."""

import inspect

import numpy as np
import pytest

from tests.docs.facts import ELEMENTS


def some(*shape, low=0.2, high=0.9, seed=0):
    """Numbers in no order, no two equal."""
    return np.random.default_rng((seed, *shape)).uniform(low, high, shape)


def square(n, seed=0):
    """A matrix that is not symmetric and far from singular, with eigenvalues far apart."""
    return some(n, n, seed=seed) + 2 * np.diag(np.arange(1.0, n + 1))


WHOLE = np.array([[5, 2, 9], [1, 7, 4]])
TRUTH = np.array([[True, False, True], [False, True, True]])
ROW = np.array([0.5, 1.4, -0.7])
IMAGES, KERNEL = some(2, 6, 5, 3), some(3, 2, 3, 4, seed=1)
SERIES, TAPS = some(2, 7, 3), some(3, 3, 4, seed=1)
TENSOR = some(2, 4, 3, low=-1, high=1)
SAMPLES = {
    "graphc.acosh": {"x": 1 + some(2, 3)},
    "graphc.clip": {"x": some(4, 3, low=-2, high=2), "min": np.array(-0.6), "max": np.array([0.5, 0.9, -0.9])},
    "graphc.astype": {"x": some(2, 3), "dtype": "float64"},
    "graphc.floor_divide": {"x": some(2, 3) * 9, "y": ROW},
    "graphc.remainder": {"x": some(2, 3) * 9, "y": ROW},
    "graphc.round": {"x": some(2, 3) * 9, "decimals": 1},
    **{f"graphc.{name}": {"x": some(2, 3, low=-3, high=3)} for name in ("ceil", "floor", "trunc", "abs", "sign")},
    "graphc.logical_not": {"x": TRUTH},
    **{f"graphc.logical_{name}": {"x": TRUTH, "y": ~TRUTH[0]} for name in ("and", "or", "xor")},
    "graphc.bitwise_invert": {"x": WHOLE},
    **{f"graphc.bitwise_{name}": {"x": WHOLE, "y": np.array([3, 1, 2])} for name in ("and", "or", "xor")},
    **{f"graphc.bitwise_{way}_shift": {"x": WHOLE, "y": np.array([3, 1, 2])} for way in ("left", "right")},
    **{f"graphc.{name}": {"x": WHOLE, "y": np.array([5, 1, 4])} for name in ("equal", "not_equal", "less")},
    "graphc.full": {"shape": (2, 3), "fill_value": np.array(0.5), "dtype": "float64"},
    "graphc.full_like": {"x": TENSOR, "fill_value": np.array(0.5)},
    **{f"graphc.{name}": {"shape": (2, 3)} for name in ("ones", "zeros")},
    **{f"graphc.{name}_like": {"x": TENSOR} for name in ("ones", "zeros")},
    "graphc.arange": {"start": 2, "stop": 9, "step": 3},
    "graphc.diagonal": {"x": some(3, 4)},
    "graphc.eye": {"n_rows": 3, "n_cols": 4, "k": 1},
    "graphc.linspace": {"start": np.array(0.3), "stop": np.array(2.1), "num": 5, "dtype": "float64"},
    **{f"graphc.{name}": {"x": TENSOR, "k": 1} for name in ("tril", "triu")},
    "graphc.broadcast_to": {"x": some(3, 1), "shape": (2, 3, 4)},
    "graphc.expand_dims": {"x": TENSOR, "axis": (0, 2)},
    "graphc.moveaxis": {"x": TENSOR, "source": 0, "destination": 2},
    "graphc.permute_dims": {"x": TENSOR, "axes": (2, 0, 1)},
    "graphc.reshape": {"x": TENSOR, "shape": (6, 4)},
    "graphc.squeeze": {"x": some(2, 1, 3), "axis": 1},
    "graphc.swapaxes": {"x": TENSOR, "axis1": 0, "axis2": 2},
    "graphc.flip": {"x": TENSOR, "axis": 0},
    "graphc.pad": {"x": TENSOR, "pad_width": ((1, 0), (2, 1), (0, 3)), "constant_values": 0.5},
    "graphc.dynamic_slice": {"x": TENSOR, "starts": (1, 2, 0), "sizes": (1, 2, 3)},
    "graphc.dynamic_update_slice": {"x": TENSOR, "update": some(1, 2, 3, seed=1), "starts": (1, 2, 0)},
    "graphc.concat": {"arrays": [TENSOR, some(2, 1, 3)], "axis": 1},
    "graphc.repeat": {"x": TENSOR, "repeats": 3},
    "graphc.roll": {"x": TENSOR, "shift": 5},
    "graphc.split": {"x": TENSOR, "indices_or_sections": (1, 3), "axis": 1},
    "graphc.stack": {"arrays": [TENSOR, some(2, 4, 3, seed=1)], "axis": 1},
    "graphc.unstack": {"x": TENSOR, "axis": 1},
    "graphc.embedding": {"weight": some(5, 3), "indices": np.array([[4, 0], [1, 4]])},
    "graphc.gather": {"x": some(2, 3), "axis": 1, "index": np.array([[2, 0], [1, 1]])},
    "graphc.one_hot": {"indices": np.array([[2, 0], [1, 1]]), "num_classes": 4},
    "graphc.scatter_add": {"indices": np.array([2, 0, 2]), "updates": some(3, 2), "size": 4},
    "graphc.take": {"x": TENSOR, "indices": np.array([[1, 0], [1, 1]]), "axis": 0},
    "graphc.take_along_axis": {"x": some(2, 3), "indices": np.array([[2, 0], [1, 1]])},
    **{f"graphc.{name}": {"x": TENSOR > 0, "axis": 1} for name in ("all", "any")},
    **{f"graphc.{name}": {"x": TENSOR, "axis": 1} for name in ("argmax", "argmin", "log_softmax", "softmax")},
    **{f"graphc.{name}": {"x": TENSOR, "axis": (0, 2)} for name in ("logsumexp", "max", "mean", "min", "prod", "sum")},
    **{f"graphc.{name}": {"x": TENSOR, "axis": (0, 2), "correction": 1} for name in ("std", "var")},
    **{f"graphc.cumulative_{name}": {"x": TENSOR, "axis": 1} for name in ("prod", "sum")},
    **{f"graphc.{name}": {"x": TENSOR, "axis": 1} for name in ("argsort", "sort")},
    "graphc.median": {"x": TENSOR},
    "graphc.searchsorted": {"sorted": np.array([0.1, 0.5, 0.7]), "values": some(2, 3)},
    "graphc.matmul": {"x": TENSOR, "y": some(3, 5)},
    "graphc.kron": {"x": some(2, 3), "y": some(4, 5)},
    "graphc.outer": {"x": some(2, 3), "y": some(4)},
    "graphc.tensordot": {"x": TENSOR, "y": some(4, 3, 5)},
    "graphc.trace": {"x": some(2, 3, 4), "offset": 1},
    "graphc.vecdot": {"x": TENSOR, "y": some(2, 4, 3, seed=1), "axis": 1},
    **{f"graphc.linalg.{name}": {"a": square(3)} for name in ("inv", "eigh", "slogdet", "svd")},
    "graphc.linalg.cholesky": {"a": square(3)},
    "graphc.linalg.qr": {"a": some(4, 3)},
    "graphc.linalg.solve": {"a": square(3), "b": some(3, 2)},
    "graphc.linalg.triangular_solve": {"a": square(3), "b": some(3, 2), "upper": True},
    "graphc.conv1d": {"x": SERIES, "kernel": TAPS, "stride": 2, "padding": [(1, 1)], "dilation": 2},
    "graphc.conv2d": {"x": IMAGES, "kernel": KERNEL, "stride": (1, 2), "padding": ((1, 1), (1, 0))},
    "graphc.conv_transpose1d": {"x": SERIES, "kernel": some(2, 4, 3), "stride": 2, "padding": [(1, 0)], "dilation": 3},
    "graphc.conv_transpose2d": {"x": IMAGES, "kernel": some(3, 2, 4, 3), "stride": (1, 2), "padding": ((1, 0), (0, 1))},
    **{f"graphc.{kind}_pool1d": {"x": SERIES, "kernel_size": 3, "stride": 2} for kind in ("avg", "max")},
    **{f"graphc.{kind}_pool2d": {"x": IMAGES, "kernel_size": 2, "stride": (1, 2)} for kind in ("avg", "max")},
    **{f"graphc.adaptive_{kind}_pool1d": {"x": SERIES, "output_size": 3} for kind in ("avg", "max")},
    **{f"graphc.adaptive_{kind}_pool2d": {"x": IMAGES, "output_size": 2} for kind in ("avg", "max")},
    "graphc.unfold": {"x": IMAGES, "kernel_size": (3, 2), "stride": 2, "padding": 1},
    "graphc.matrix_transpose": {"x": TENSOR},
    "graphc.training": {},
    "graphc.size": {"dim": 3},
    "graphc.fold": {"x": some(2, 2, 2, 3, 2, 1), "output_size": (4, 5), "padding": 0, "stride": (1, 2)},
    "graphc.normal": {"shape": (2, 3), "mean": np.array(0.3), "std": np.array(1.5), "dtype": "float64"},
    "graphc.uniform": {"shape": (2, 3), "low": np.array(0.3), "high": np.array(1.5), "dtype": "float64"},
    "graphc.bernoulli": {"probability": some(2, 3)},
    "graphc.categorical": {"logits": some(2, 3)},
    "graphc.randint": {"low": 2, "high": 7, "shape": (2, 3)},
    "graphc.permutation": {"x": TENSOR},
    "graphc.exponential": {"shape": (2, 3), "scale": np.array(1.5), "dtype": "float64"},
    "graphc.gumbel": {"shape": (2, 3), "loc": np.array(0.3), "scale": np.array(1.5), "dtype": "float64"},
    "graphc.truncated_normal": {
        **{"shape": (2, 3), "lower": np.array(-0.5), "upper": np.array(1.7)},
        **{"mean": np.array(0.2), "std": np.array(0.8), "dtype": "float64"},
    },
    "graphc.clip_gradient": {"x": TENSOR, "low": -0.2, "high": 0.3},
    "graphc.watch_gradient": {"x": TENSOR, "probe": np.array(0.0)},
    "graphc.stop_gradient": {"x": TENSOR},
    "graphc.with_update": {"x": TENSOR, "updates": {}},
    "graphc.global_norm": {"nodes": TENSOR},
    "graphc.clip_by_norm": {"nodes": TENSOR, "max_norm": 0.5},
}
LABELS = np.array([2, 0, 1, 1])
LOGITS = some(4, 3, low=-2, high=2)
PAIR = {"input": some(4, 3, low=-2, high=2), "target": some(4, 3, low=-2, high=2, seed=1)}
CHANCES = {"input": some(4, 3), "target": some(4, 3, seed=1)}
SIGNS = np.array([1.0, -1.0, 1.0, -1.0])
SAMPLES |= {
    **{f"nn.{name}": {"x": some(2, 4, 3, low=-4, high=4)} for name in ("elu", "gelu", "hardsigmoid", "hardswish")},
    **{
        f"nn.{name}": {"x": some(2, 4, 3, low=-4, high=4)}
        for name in ("leaky_relu", "logsigmoid", "mish", "selu", "silu")
    },
    "nn.softplus": {"x": some(2, 4, 3, low=-4, high=4), "beta": 2.0, "threshold": 5.0},
    "nn.prelu": {"x": TENSOR, "weight": some(3)},
    "nn.linear": {"x": TENSOR, "weight": some(5, 3)},
    "nn.bilinear": {"x1": TENSOR, "x2": some(2, 4, 5), "weight": some(6, 3, 5)},
    "nn.embedding": {"input": np.array([[4, 0], [1, 4]]), "weight": some(5, 3)},
    "nn.layer_norm": {"x": TENSOR, "normalized_shape": 3},
    "nn.rms_norm": {"x": TENSOR, "normalized_shape": 3, "eps": 1e-3},
    **{f"nn.{name}": {"x": TENSOR, "training": False} for name in ("dropout", "dropout1d")},
    "nn.dropout2d": {"x": IMAGES, "training": False},
    **{f"nn.{name}_norm": {"x": IMAGES, "training": True} for name in ("batch", "instance")},
    "nn.group_norm": {"x": some(2, 5, 4, 6), "num_groups": 3},
    "nn.scaled_dot_product_attention": {"query": some(2, 4, 3), "key": some(2, 5, 3), "value": some(2, 5, 6)},
    "nn.sinusoidal_positions": {"length": 5, "features": 6, "dtype": "float64"},
    "nn.rotary_embedding": {"x": some(2, 5, 6)},
    "nn.cross_entropy": {"input": LOGITS, "target": LABELS},
    "nn.nll_loss": {"input": LOGITS, "target": LABELS},
    "nn.binary_cross_entropy": CHANCES,
    "nn.binary_cross_entropy_with_logits": CHANCES,
    "nn.kl_div": CHANCES,
    **{f"nn.{name}_loss": PAIR for name in ("mse", "l1", "smooth_l1", "huber")},
    "nn.quantile_loss": {**PAIR, "quantile": 0.3},
    "nn.gaussian_nll_loss": {**PAIR, "var": some(4, 3, seed=2)},
    "nn.hinge_loss": {"input": some(4, low=-2, high=2), "target": SIGNS},
    "nn.hinge_embedding_loss": {"input": some(4, low=0, high=2), "target": SIGNS},
    "nn.cosine_embedding_loss": {"input1": LOGITS, "input2": some(4, 3), "target": SIGNS},
    "nn.pairwise_distance": {"x1": LOGITS, "x2": some(4, 3), "p": 3.0},
    "nn.triplet_margin_loss": {"anchor": LOGITS, "positive": some(4, 3), "negative": some(4, 3, seed=1)},
}
SHAPE = {"shape": (3, 2)}
SAMPLES |= {
    f"nn.init.{name}": SHAPE for name in ("zeros", "ones", "uniform", "normal", "truncated_normal", "orthogonal")
}
SAMPLES |= {f"nn.init.{name}_{kind}": SHAPE for name in ("glorot", "he", "lecun") for kind in ("uniform", "normal")}
SAMPLES |= {"nn.init.constant": {"shape": (3, 2), "value": 0.5}}
# Their gradients replace those of what they compute.
RULES = {"graphc.clip_gradient", "graphc.watch_gradient", "graphc.stop_gradient"}


def sample(name, value):
    """Return the arguments of one call, by name."""
    if name not in SAMPLES and value.__module__ in ELEMENTS:
        ways = {"condition": TRUTH, "x": some(2, 3), "y": 1.3 + ROW}
        return {one: ways[one] for one in inspect.signature(value).parameters if one in ways}
    if name not in SAMPLES:
        pytest.fail(f"{name}: add arguments to tests/docs/samples.py, for the code in its docstring is run")
    return SAMPLES[name]
