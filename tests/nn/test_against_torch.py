"""Modules and losses against PyTorch, where it is installed: values, gradients, options, hard values, state dicts."""

import itertools
from pathlib import Path

import numpy as np
import pytest

import graphc
from graphc import nn

torch = pytest.importorskip("torch")
F = torch.nn.functional

RNG = np.random.default_rng(11)
DTYPES = ["float32", "float64"]
HARD = np.array([-np.inf, -1e30, -1e4, -100, -20, -3, -1, -1e-7, 0, 1e-7, 1, 3, 20, 100, 1e4, 1e30, np.inf])


def tolerance(dtype):
    # Some of torch's constants (1/6, 1e-12) are float32 in its kernels for float64 too.
    return {"rtol": 3e-5, "atol": 2e-6} if dtype == "float32" else {"rtol": 1e-7, "atol": 1e-10}


def compare(ours, theirs, *arrays, dtype="float64", finite_only=False, **bounds):
    """Hold values and gradients by all floating operands against torch; `finite_only`: where torch's are finite."""
    arrays = [array.astype(dtype) if array.dtype.kind == "f" else array for array in map(np.asarray, arrays)]
    nodes = [graphc.input(f"x{k}", array.shape, array.dtype) for k, array in enumerate(arrays)]
    tensors = [torch.tensor(array, requires_grad=array.dtype.kind == "f") for array in arrays]
    expected = theirs(*tensors)
    weights = RNG.normal(size=tuple(expected.shape)).astype(dtype)
    value = ours(*nodes)
    wrt = [k for k, array in enumerate(arrays) if array.dtype.kind == "f"]
    slopes = torch.autograd.grad((expected * torch.tensor(weights)).sum(), [tensors[k] for k in wrt], allow_unused=True)
    gradients = graphc.grad((value * weights).sum(), [nodes[k] for k in wrt], disconnected="zeros")
    with np.errstate(all="ignore"):
        results = graphc.evaluate([value, *gradients], dict(zip(nodes, arrays, strict=True)))
    references = [expected.detach().numpy()]
    references += [
        np.zeros_like(arrays[k]) if slope is None else slope.numpy() for k, slope in zip(wrt, slopes, strict=True)
    ]
    assert results[0].dtype == references[0].dtype
    for got, reference in zip(results, references, strict=True):
        kept = np.isfinite(reference) if finite_only else np.ones(reference.shape, bool)
        np.testing.assert_allclose(np.asarray(got)[kept], reference[kept], **tolerance(dtype) | bounds)


ACTIVATIONS = {
    "relu": (nn.ReLU(), torch.nn.ReLU()),
    "leaky_relu": (nn.LeakyReLU(), torch.nn.LeakyReLU()),
    "leaky_relu 0.3": (nn.LeakyReLU(0.3), torch.nn.LeakyReLU(0.3)),
    "elu": (nn.ELU(), torch.nn.ELU()),
    "elu 2": (nn.ELU(2.0), torch.nn.ELU(2.0)),
    "selu": (nn.SELU(), torch.nn.SELU()),
    "silu": (nn.SiLU(), torch.nn.SiLU()),
    "gelu": (nn.GELU(), torch.nn.GELU()),
    "gelu tanh": (nn.GELU("tanh"), torch.nn.GELU("tanh")),
    "softplus": (nn.Softplus(), torch.nn.Softplus()),
    "softplus 2 3": (nn.Softplus(2.0, 3.0), torch.nn.Softplus(2.0, 3.0)),
    "tanh": (nn.Tanh(), torch.nn.Tanh()),
    "sigmoid": (nn.Sigmoid(), torch.nn.Sigmoid()),
    "logsigmoid": (nn.LogSigmoid(), torch.nn.LogSigmoid()),
    "hardsigmoid": (nn.Hardsigmoid(), torch.nn.Hardsigmoid()),
    "hardswish": (nn.Hardswish(), torch.nn.Hardswish()),
    "mish": (nn.Mish(), torch.nn.Mish()),
    "softmax": (nn.Softmax(), torch.nn.Softmax(-1)),
    "softmax 0": (nn.Softmax(0), torch.nn.Softmax(0)),
    "log_softmax": (nn.LogSoftmax(), torch.nn.LogSoftmax(-1)),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name, dtype):
    ours, theirs = ACTIVATIONS[name]
    compare(ours, theirs, RNG.normal(size=(9, 7)) * 4, dtype=dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [name for name in ACTIVATIONS if "softmax" not in name])
def test_activations_at_hard_values(name, dtype):
    compare(*ACTIVATIONS[name], HARD, dtype=dtype, finite_only=True)


@pytest.mark.parametrize("name", [name for name in ACTIVATIONS if "softmax" not in name])
def test_activations_pass_nan_on(name):
    x = graphc.input("x", (), "float64")
    assert np.isnan(ACTIVATIONS[name][0](x).eval({x: np.nan}))


@pytest.mark.parametrize("dtype", DTYPES)
def test_softmax_at_hard_values(dtype):
    rows = np.array([[-np.inf, 0, 1], [1e4, -1e4, 0], [1e30, 1e30, 0], [-np.inf, -np.inf, 3], [np.nan, 0, 0]])
    for name in ("softmax", "log_softmax"):
        compare(*ACTIVATIONS[name], rows, dtype=dtype, finite_only=True)


def layers(kind, *args, **kwargs):
    return getattr(nn, kind)(*args, **kwargs), getattr(torch.nn, kind)(*args, **kwargs)


LAYERS = {
    "linear": (lambda: layers("Linear", 4, 3), [(5, 4)]),
    "linear without bias": (lambda: layers("Linear", 4, 3, bias=False), [(2, 5, 4)]),
    "bilinear": (lambda: layers("Bilinear", 4, 3, 2), [(5, 6, 4), (5, 6, 3)]),
    "bilinear without bias": (lambda: layers("Bilinear", 4, 3, 2, bias=False), [(5, 4), (5, 3)]),
    "layer norm": (lambda: layers("LayerNorm", 4), [(5, 3, 4)]),
    "layer norm of two axes": (lambda: layers("LayerNorm", (3, 4), eps=1e-2), [(5, 3, 4)]),
    "layer norm without bias": (lambda: layers("LayerNorm", 4, bias=False), [(5, 4)]),
    "layer norm, plain": (lambda: layers("LayerNorm", 4, elementwise_affine=False), [(5, 4)]),
    "rms norm": (lambda: layers("RMSNorm", 4), [(5, 3, 4)]),
    "rms norm of two axes": (lambda: layers("RMSNorm", (3, 4), eps=1e-2), [(5, 3, 4)]),
    "rms norm, plain": (lambda: layers("RMSNorm", 4, elementwise_affine=False), [(5, 4)]),
    "prelu": (lambda: layers("PReLU"), [(5, 4)]),
    "prelu of channels": (lambda: layers("PReLU", 4, init=0.1), [(5, 4)]),
    "embedding": (lambda: layers("Embedding", 6, 4), []),
    "embedding with padding": (lambda: layers("Embedding", 6, 4, padding_idx=2), []),
    "embedding with padding from the end": (lambda: layers("Embedding", 6, 4, padding_idx=-1), []),
    "flatten": (lambda: layers("Flatten"), [(5, 3, 4)]),
    "flatten some": (lambda: layers("Flatten", 0, 1), [(5, 3, 4)]),
    "identity": (lambda: layers("Identity"), [(5, 3)]),
    "a network": (
        lambda: (
            nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.LayerNorm(8), nn.Linear(8, 2)),
            torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.GELU(), torch.nn.LayerNorm(8), torch.nn.Linear(8, 2)),
        ),
        [(5, 4)],
    ),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_with_the_weights_of_pytorch(name):
    make, shapes = LAYERS[name]
    ours, theirs = make()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3)))
    ours.load_state_dict({name: tensor.numpy() for name, tensor in theirs.state_dict().items()})
    assert [n for n, _ in ours.named_parameters()] == [n for n, _ in theirs.named_parameters()]
    arrays = [RNG.normal(size=shape).astype("f") for shape in shapes] or [np.array([[0, 2, 5], [2, 5, 5]])]
    nodes = [graphc.input(f"x{k}", array.shape, array.dtype) for k, array in enumerate(arrays)]
    tensors = [torch.tensor(array, requires_grad=array.dtype.kind == "f") for array in arrays]
    expected, value = theirs(*tensors), ours(*nodes)
    weights = RNG.normal(size=tuple(expected.shape)).astype("f")
    (expected * torch.tensor(weights)).sum().backward()
    wrt = [*(node for node in nodes if node.dtype.is_float), *ours.parameters()]
    references = [t.grad.numpy() for t in (*(t for t in tensors if t.requires_grad), *theirs.parameters())]
    gradients = graphc.grad((value * weights).sum(), wrt) if wrt else []
    results = graphc.evaluate([value, *gradients], dict(zip(nodes, arrays, strict=True)))
    for got, reference in zip(results, [expected.detach().numpy(), *references], strict=True):
        np.testing.assert_allclose(got, reference, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(4,), (3, 4)])
def test_norms_in_both_dtypes(dtype, shape):
    x, w, b = RNG.normal(size=(5, 3, 4)), RNG.normal(size=shape), RNG.normal(size=shape)
    compare(lambda x, w, b: nn.layer_norm(x, shape, w, b), lambda x, w, b: F.layer_norm(x, shape, w, b), x, w, b)
    compare(lambda x, w: nn.rms_norm(x, shape, w), lambda x, w: F.rms_norm(x, shape, w), x, w, dtype=dtype)


REDUCTIONS = ["mean", "sum", "none"]
N, C = 6, 4
LOGITS, LABELS = RNG.normal(size=(N, C)) * 3, RNG.integers(0, C, N)
WEIGHTS, PROBABILITIES = RNG.uniform(0.5, 2, C), RNG.dirichlet(np.ones(C), N)


def typed(array, dtype):
    return None if array is None else array.astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_cross_entropy(dtype, reduction):
    ignored = LABELS.copy()
    ignored[1] = -100
    options = itertools.product([None, WEIGHTS.astype(dtype)], [0.0, 0.3], [-100, int(LABELS[0])])
    for weight, smoothing, index in options:
        shared = {"reduction": reduction, "label_smoothing": smoothing}
        theirs = {**shared, "weight": None if weight is None else torch.tensor(weight)}
        compare(
            lambda x, y: nn.cross_entropy(x, y, weight=weight, ignore_index=index, **shared),  # noqa: B023
            lambda x, y: F.cross_entropy(x, y, ignore_index=index, **theirs),  # noqa: B023
            LOGITS,
            ignored if index < 0 else LABELS,
            dtype=dtype,
        )
        compare(
            lambda x, p: nn.cross_entropy(x, p, weight=weight, **shared),  # noqa: B023
            lambda x, p: F.cross_entropy(x, p, **theirs),  # noqa: B023
            LOGITS,
            PROBABILITIES,
            dtype=dtype,
        )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("weight", [None, WEIGHTS])
def test_nll_and_images_with_classes_last(dtype, reduction, weight):
    weight = typed(weight, dtype)
    theirs = {"weight": None if weight is None else torch.tensor(weight), "reduction": reduction}
    ours = {"weight": weight, "reduction": reduction}
    labels = LABELS.copy()
    labels[2] = -100
    compare(
        lambda x, y: nn.nll_loss(x, y, **ours), lambda x, y: F.nll_loss(x, y, **theirs), LOGITS, labels, dtype=dtype
    )
    images, classes = RNG.normal(size=(2, 3, 5, C)), RNG.integers(0, C, (2, 3, 5))
    compare(
        lambda x, y: nn.cross_entropy(x, y, **ours),
        lambda x, y: F.cross_entropy(x.movedim(-1, 1), y, **theirs),
        images,
        classes,
        dtype=dtype,
    )
    compare(
        lambda x, y: nn.cross_entropy(x, y, label_smoothing=0.1, **ours),
        lambda x, y: F.cross_entropy(x, y, label_smoothing=0.1, **theirs),
        LOGITS[0],
        LABELS[0],
        dtype=dtype,
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_cross_entropy_at_hard_values(dtype):
    logits = np.array([[1e4, 0, -1e4], [1e30, -1e30, 0], [-np.inf, 0, 1], [3, 3, 3], [-np.inf, 0, -np.inf]])
    labels = np.array([2, 0, 2, 1, 1])
    for reduction in ("none", "mean"):
        compare(
            lambda x, y: nn.cross_entropy(x, y, reduction=reduction),  # noqa: B023
            lambda x, y: F.cross_entropy(x, y, reduction=reduction),  # noqa: B023
            logits,
            labels,
            dtype=dtype,
            finite_only=True,
        )
    compare(
        lambda x, p: nn.cross_entropy(x, p, reduction="none"),
        lambda x, p: F.cross_entropy(x, p, reduction="none"),
        logits,
        np.eye(3)[labels],
        dtype=dtype,
        finite_only=True,
    )
    ignored = np.full(5, -100)
    ours = graphc.input("x", (5, 3), dtype)
    got = nn.cross_entropy(ours, ignored).eval({ours: logits})
    assert np.isnan(got)
    assert np.isnan(F.cross_entropy(torch.tensor(logits), torch.tensor(ignored)).item())


X, Y = RNG.normal(size=(N, 3)) * 2, RNG.normal(size=(N, 3))
SIDES = RNG.choice([-1, 1], N)
PAIRS = {
    "mse": (nn.mse_loss, F.mse_loss, {}),
    "l1": (nn.l1_loss, F.l1_loss, {}),
    "smooth l1": (nn.smooth_l1_loss, F.smooth_l1_loss, {}),
    "smooth l1 0.3": (nn.smooth_l1_loss, F.smooth_l1_loss, {"beta": 0.3}),
    "smooth l1 0": (nn.smooth_l1_loss, F.smooth_l1_loss, {"beta": 0.0}),
    "huber": (nn.huber_loss, F.huber_loss, {}),
    "huber 0.3": (nn.huber_loss, F.huber_loss, {"delta": 0.3}),
    "kl of logarithms": (nn.kl_div, F.kl_div, {"log_target": True}),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides")
def test_losses_of_two_operands(name, reduction, dtype):
    ours, theirs, options = PAIRS[name]
    compare(
        lambda x, y: ours(x, y, reduction=reduction, **options),
        lambda x, y: theirs(x, y, reduction=reduction, **options),
        X,
        Y,
        dtype=dtype,
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [name for name in PAIRS if "kl" not in name])
def test_losses_of_two_operands_at_hard_values(name, dtype):
    ours, theirs, options = PAIRS[name]
    first = np.array([0, 1, -1, 0.3, 1e-20, 1e30, -1e30, np.inf, -np.inf, 1e4])
    compare(
        lambda x, y: ours(x, y, reduction="none", **options),
        lambda x, y: theirs(x, y, reduction="none", **options),
        first,
        np.zeros(10),
        dtype=dtype,
        finite_only=True,
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_binary_cross_entropies(dtype, reduction):
    p, t = RNG.uniform(size=(N, 3)), RNG.uniform(size=(N, 3))
    weight, positive = RNG.uniform(0.5, 2, (N, 1)).astype(dtype), RNG.uniform(0.5, 2, 3).astype(dtype)
    for given in ({}, {"weight": weight}):
        theirs = {name: torch.tensor(array) for name, array in given.items()}
        compare(
            lambda p, t: nn.binary_cross_entropy(p, t, reduction=reduction, **given),  # noqa: B023
            lambda p, t: F.binary_cross_entropy(p, t, reduction=reduction, **theirs),  # noqa: B023
            p,
            t,
            dtype=dtype,
        )
    for given in ({}, {"weight": weight}, {"pos_weight": positive}, {"weight": weight, "pos_weight": positive}):
        theirs = {name: torch.tensor(array) for name, array in given.items()}
        compare(
            lambda x, t: nn.binary_cross_entropy_with_logits(x, t, reduction=reduction, **given),  # noqa: B023
            lambda x, t: F.binary_cross_entropy_with_logits(x, t, reduction=reduction, **theirs),  # noqa: B023
            X * 3,
            t,
            dtype=dtype,
        )


@pytest.mark.parametrize("dtype", DTYPES)
def test_binary_cross_entropies_at_hard_values(dtype):
    ends, targets = (
        np.array(pair) for pair in zip(*itertools.product([0, 1e-30, 1e-13, 1e-6, 0.5, 1], [0, 0.5, 1]), strict=True)
    )
    compare(
        lambda p: nn.binary_cross_entropy(p, targets.astype(dtype), reduction="none"),
        lambda p: F.binary_cross_entropy(p, torch.tensor(targets.astype(dtype)), reduction="none"),
        ends,
        dtype=dtype,
        finite_only=True,
        # At the ends torch has a slope of 0 towards the right side, where the true one is 1.
        atol=4.0,
    )
    logits, targets = (np.array(pair) for pair in zip(*itertools.product(HARD, [0, 0.5, 1]), strict=True))
    compare(
        lambda x: nn.binary_cross_entropy_with_logits(x, targets.astype(dtype), reduction="none"),
        lambda x: F.binary_cross_entropy_with_logits(x, torch.tensor(targets.astype(dtype)), reduction="none"),
        logits,
        dtype=dtype,
        finite_only=True,
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides")
def test_kl_div(dtype):
    logs = LOGITS - np.log(np.exp(LOGITS).sum(-1, keepdims=True))
    for reduction in (*REDUCTIONS, "batchmean"):
        compare(
            lambda x, p: nn.kl_div(x, p, reduction=reduction),  # noqa: B023
            lambda x, p: F.kl_div(x, p, reduction=reduction),  # noqa: B023
            logs,
            PROBABILITIES,
            dtype=dtype,
        )
    hard = np.array([0, 0, 1, 1e-30, 0.5])
    compare(
        lambda x, p: nn.kl_div(x, p, reduction="none"),
        lambda x, p: F.kl_div(x, p, reduction="none"),
        np.array([-1e4, -1, 0, -50, -np.inf]),
        hard,
        dtype=dtype,
        finite_only=True,
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("full", [False, True])
def test_gaussian_nll(dtype, reduction, full):
    variances = RNG.uniform(0.5, 2, (N, 3))
    variances[0] = 1e-9
    for var in (variances, variances[:, :1], variances[:, 0]):
        compare(
            lambda x, y, v: nn.gaussian_nll_loss(x, y, v, full=full, reduction=reduction),
            lambda x, y, v: F.gaussian_nll_loss(x, y, v, full=full, reduction=reduction),
            X,
            Y,
            var,
            dtype=dtype,
        )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_losses_of_pairs_and_triples(dtype, reduction):
    third = RNG.normal(size=(N, 3))
    for p, swap in itertools.product([1.0, 2.0, 3.5], [False, True]):
        compare(
            lambda a, b, c: nn.triplet_margin_loss(a, b, c, margin=0.9, p=p, swap=swap, reduction=reduction),  # noqa: B023
            lambda a, b, c: F.triplet_margin_loss(a, b, c, margin=0.9, p=p, swap=swap, reduction=reduction),  # noqa: B023
            X,
            Y,
            third,
            dtype=dtype,
        )
    for margin in (0.0, 0.2, -0.3):
        compare(
            lambda a, b: nn.cosine_embedding_loss(a, b, SIDES, margin=margin, reduction=reduction),  # noqa: B023
            lambda a, b: F.cosine_embedding_loss(a, b, torch.tensor(SIDES), margin=margin, reduction=reduction),  # noqa: B023
            X,
            Y,
            dtype=dtype,
        )
    compare(
        lambda x: nn.hinge_embedding_loss(x, SIDES, margin=0.9, reduction=reduction),
        lambda x: F.hinge_embedding_loss(x, torch.tensor(SIDES), margin=0.9, reduction=reduction),
        X[:, 0],
        dtype=dtype,
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_losses_of_pairs_at_corners(dtype):
    zeros = np.zeros((2, 3))
    compare(nn.pairwise_distance, F.pairwise_distance, X[:2], X[:2], dtype=dtype)
    compare(
        lambda a, b: nn.pairwise_distance(a, b, eps=0.0),
        lambda a, b: F.pairwise_distance(a, b, eps=0.0),
        X[:2],
        X[:2],
        dtype=dtype,
    )
    compare(
        lambda a, b: nn.cosine_embedding_loss(a, b, np.array([1, -1])),
        lambda a, b: F.cosine_embedding_loss(a, b, torch.tensor([1, -1])),
        zeros,
        X[:2],
        dtype=dtype,
    )
    compare(
        lambda x: nn.hinge_embedding_loss(x, -np.ones(1, "int64"), reduction="none"),
        lambda x: F.hinge_embedding_loss(x, -torch.ones(1), reduction="none"),
        np.ones(1),
        dtype=dtype,
    )


def test_every_module_and_loss_of_nn_is_compared():
    """A name that is here and in PyTorch must stand in one of the files that compare."""
    text = "".join(path.read_text("utf-8") for path in Path(__file__).parent.glob("*_against_torch.py"))
    shared = {name for name in nn.__all__ if hasattr(F, name) or hasattr(torch.nn, name)}
    elsewhere = {"Module", "ModuleDict", "ModuleList", "Dropout", "Dropout1d", "Dropout2d", "dropout", "init"}
    modules = {name for name in shared - elsewhere if name[0].isupper() and not name.endswith("Loss")}
    assert {name for name in modules if f'"{name}"' not in text and f"nn.{name}(" not in text} == set()
    losses = {name for name in shared if name.endswith(("_loss", "entropy", "logits", "kl_div"))}
    assert {name for name in losses if f"nn.{name}" not in text} == set()
