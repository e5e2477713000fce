"""Mistakes at layers, losses, optimizers and ops, beyond the gallery: errors name the line, what came and what to do."""

import re

import numpy as np
import pytest

import graphc
from graphc import linalg, nn, optim

X = graphc.input("x", ("batch", 3))
F, T = graphc.input("f", (4, 3)), graphc.input("t", (4, 3))
LABELS = graphc.input("labels", (4,), "int64")
IMAGES = graphc.input("images", ("batch", 8, 8, 3))
SERIES = graphc.input("series", (5, "batch", 3))
W = graphc.parameter(np.ones((3, 2), "float32"), "w")
FILTERS = np.ones((3, 3, 3, 4), "float32")

# What a user writes, and what the message must say of it.
MAKING = [
    (lambda: nn.Linear("3", 2), r"Linear's in_features: expected a whole number .*, got '3'"),
    (lambda: nn.Linear(3, 2, dtype="int32"), "expected a floating dtype, got int32"),
    (lambda: nn.Linear(3), r"Linear\(\) missing .*'out_features'; expected Linear\(in_features, out_features"),
    (lambda: nn.Embedding(10, 3, padding_idx=12), "expected padding_idx from -10 to 9, got 12"),
    (lambda: nn.Dropout("0.5"), r"probability p: expected a number from 0.0 to 1.0, got '0.5'"),
    (lambda: nn.LayerNorm("features"), "normalized_shape: expected a whole number .*'features'"),
    (lambda: nn.Conv2d(3, 8), r"Conv2d\(\) missing .*'kernel_size'"),
    (lambda: nn.Conv2d(3, 8, 3, padding="SAME"), "Conv2d: expected padding to be 'valid', 'same', .*, got 'SAME'"),
    (lambda: nn.Conv2d(3, 8, 3, stride=0), "expected Conv2d's stride to be a whole number of 1 or more.*, got 0"),
    (lambda: nn.Conv1d(3, 8, 3, dilation=1.5), "expected Conv1d's dilation to be a whole number .*, got 1.5"),
    (lambda: nn.Conv2d(3, 8, 3, groups=2), "in_channels that 2 groups divide evenly, got 3"),
    (lambda: nn.ConvTranspose2d(3, 8, 3, output_padding=-1), "ConvTranspose2d's output_padding .* 0 or more.*got -1"),
    (lambda: nn.MaxPool2d("two"), "expected MaxPool2d's kernel_size to be a whole number .*, got 'two'"),
    (lambda: nn.MaxPool1d(0), "expected MaxPool1d's kernel_size .*, got 0"),
    (lambda: nn.AvgPool2d(2, padding=-1), "AvgPool2d: expected padding .*of 0 or more, got -1"),
    (lambda: nn.AvgPool2d(2, stride=(1, 2, 3)), r"expected AvgPool2d's stride .*2 of them, got \(1, 2, 3\)"),
    (lambda: nn.AdaptiveAvgPool2d(0), "expected AdaptiveAvgPool2d's output_size .*, got 0"),
    (lambda: nn.Upsample(), "Upsample: expected size or scale_factor, one of them"),
    (lambda: nn.Upsample(scale_factor=2, mode="bicubic"), "Upsample's mode: expected 'nearest', .*got 'bicubic'"),
    (lambda: nn.Flatten("all"), "Flatten's start_dim: expected a whole number, got 'all'"),
    (lambda: nn.BatchNorm2d(3, momentum=2), "momentum: expected a number from 0.0 to 1.0, got 2"),
    (lambda: nn.GroupNorm(2, 3), "num_channels that num_groups divides evenly, got 3 and 2"),
    (lambda: nn.RNN(3, 4, nonlinearity="sigmoid"), "nonlinearity: expected 'tanh' or 'relu', got 'sigmoid'"),
    (lambda: nn.LSTM(3, units=4), r"'units'; expected LSTM\(input_size, hidden_size"),
    (lambda: nn.MultiheadAttention(10, 3), "embed_dim that num_heads divides, got 10 and 3"),
    (lambda: nn.ReLU(inplace=True), r"'inplace'; nodes never change, so leave it out; expected ReLU\(\)"),
    (lambda: nn.ReLU(X), r"expected ReLU\(\); make it first, and call .*: ReLU\(\.\.\.\)\(x\)"),
    (lambda: nn.Softmax(axis=1), r"'axis'; expected Softmax\(dim=-1\)"),
    (lambda: nn.GELU("fast"), "approximate: expected 'none' or 'tanh', got 'fast'"),
    (lambda: nn.Sequential([nn.Linear(3, 2)]), r"as in Sequential\(first, second\); got a list at position 0"),
    (lambda: nn.ModuleList(nn.Linear(3, 2)), r"as in ModuleList\(\[first, second\]\); got a Linear"),
    (lambda: nn.ModuleDict([nn.Linear(3, 2)]), "expected modules by name, as {'name': module}, got a list"),
    (lambda: nn.CrossEntropyLoss(axis=1), "expected options weight, ignore_index, .*; got axis"),
    (lambda: nn.init.glorot_uniform((3,)), r"expected a shape \(out, in\) .*, got \(3,\)"),
    (lambda: nn.init.he_normal((3, 4), mode="fan"), "expected 'fan_in' or 'fan_out', got 'fan'"),
    (lambda: nn.init.normal(X), "a shape: expected a whole number .*input 'x'"),
    (lambda: optim.SGD(0.1, nesterov=True), "nesterov needs a momentum and no dampening"),
    (lambda: optim.SGD(0.1, nesterov="yes"), r"expected nesterov of SGD\(.*\) to be True or False, got 'yes'"),
    (lambda: optim.Adam(betas=(0.9,)), r"Adam: expected two betas, as in \(0.9, 0.999\), got \(0.9,\)"),
    (lambda: optim.Adam(betas=0.9), "AdamW?: expected two betas, .*, got 0.9"),
    (lambda: optim.Adagrad(eps="small"), "Adagrad: expected eps of 0 or more, got 'small'"),
    (lambda: optim.RMSprop(clip_norm=-1), "RMSprop: expected clip_norm above 0, or None; got -1"),
    (lambda: optim.AdamW(clip_value="1"), "AdamW: expected clip_value above 0, or None; got '1'"),
]
CALLING = [
    (lambda: nn.Linear(3, 2)(), r"Linear\(\) missing 1 .*'x'; expected Linear\(x\)"),
    (lambda: nn.Linear(3, 2)(X, X), r"expected Linear\(x\)"),
    (lambda: nn.MultiheadAttention(3, 1)(SERIES), r"'key' and 'value'; expected MultiheadAttention\(query, key, value"),
    (lambda: nn.Dropout(0.5)(X, train=True), r"'train'; expected Dropout\(x, training=None\)"),
    (lambda: nn.Linear(4, 2)(X), r"expected a last axis of 4, got float32\[batch, 3\]"),
    (lambda: nn.Embedding(10, 3)(X), "expected integer indices, got float32.*use astype"),
    (lambda: nn.Conv2d(8, 4, 3)(IMAGES), "expected a last axis of 8, got"),
    (lambda: nn.Conv2d(3, 4, 9)(IMAGES), "reaches over 9 does not fit along axis 1"),
    (
        lambda: graphc.conv2d(IMAGES, np.ones((3, 0, 3, 2), "float32")),
        "conv2d: expected a kernel of 1 or more elements along axis 2",
    ),
    (lambda: nn.LSTM(3, 5)(SERIES, graphc.zeros((1, 2, 5))), r"expected \(h, c\) as initial state, got 1"),
    (lambda: nn.Linear(5, 2)(nn.LSTM(3, 5)(SERIES)), "a node has no value"),
    (lambda: nn.Residual(nn.Linear(3, 2))(X), r"one shape, got float32\[batch, 2\] of the body"),
    (
        lambda: nn.cross_entropy(F, graphc.input("o", (4, 3), "int64")),
        r"by a 1, write graphc.argmax\(labels, axis=-1\)",
    ),
    (lambda: nn.cross_entropy(F, graphc.input("l", (5,), "int64")), r"expected scores \(..., classes\) and labels"),
    (lambda: nn.cross_entropy(F, LABELS, reduction="avg"), "expected 'mean', 'sum' or 'none', got 'avg'"),
    (lambda: nn.mse_loss(F, T, "sum"), r"expected nn.mse_loss\(input, target, "),
    (lambda: nn.MSELoss()(F), r"missing 1 .*'target'"),
    (lambda: nn.mse_loss(F, graphc.input("u", (4,))), "operands of one shape"),
    (lambda: nn.huber_loss(F, T, delta=0), "delta: expected a number above 0.0, got 0"),
    (lambda: nn.quantile_loss(F, T, 1.5), "quantile: expected a number between 0.0 and 1.0, got 1.5"),
    (lambda: optim.SGD(0.1).minimize(lambda: F), "expected a loss, .*, got a function: .*; call it, and give the node"),
    (lambda: optim.SGD(0.1).minimize(3.0), "expected a loss, a node without dimensions, got a float: 3.0"),
    (lambda: optim.SGD(0.1).apply([W]), "expected {parameter: its gradient}, .*, got a list"),
    (lambda: optim.SGD(0.1).minimize(X @ W), "expected a scalar to differentiate"),
    (lambda: optim.SGD(0.1).minimize((X @ W).sum(), W), "expected a list of parameters or of groups"),
    (lambda: graphc.conv2d(IMAGES, FILTERS, np.ones(4, "float32")), r"conv2d's stride .*, got array\(\[1., 1."),
    (lambda: graphc.conv2d(IMAGES, FILTERS, graphc.state(1.0)), "conv2d's stride .*, got <float32"),
    (lambda: graphc.conv2d(IMAGES, weight=FILTERS), r"weight is called kernel; expected conv2d\(x, kernel"),
    (lambda: graphc.conv2d(IMAGES, FILTERS, bias=0), r"add it to the result, as in graphc.conv2d\(x, kernel\) \+ bias"),
    (lambda: graphc.pad(F, widths=1), "widths is called pad_width"),
    (
        lambda: graphc.pad(F, 1, mode="edge"),
        "expected mode 'constant', 'reflect', 'replicate' or 'circular', got 'edge'",
    ),
    (lambda: graphc.tile(F, repetitions=2), r"repetitions is called reps"),
    (lambda: graphc.eye(N=3), r"N is called n_rows"),
    (lambda: graphc.tril(F, diagonal=1), "diagonal is called k"),
    (lambda: graphc.bernoulli(p=0.5), "p is called probability"),
    (lambda: graphc.unfold(IMAGES, 3, 2), r"takes 2 positional .*; expected unfold\(x, kernel_size"),
    (lambda: graphc.einsum(F, T, "ij,ij->i"), "expected subscripts such as 'ij,jk->ik' first, got Input"),
    (lambda: graphc.max(F, T), "expected an axis .*, got <float32"),
    (lambda: graphc.fori_loop(0, F.sum(), lambda i, c: c, 0.0), "must be known before the loop runs.*while_loop"),
    (lambda: graphc.cond(F.sum() > 0, 1.0, 2.0), "expected two functions"),
    (lambda: linalg.svd(F, full_matrices=False), "always the reduced ones, so leave it out"),
    (lambda: linalg.inv(F), "expected square matrices, got"),
    (lambda: linalg.triangular_solve(F[:3], F[:3], upper="no"), "expected upper to be True or False, got 'no'"),
]


@pytest.mark.parametrize(("call", "message"), [*MAKING, *CALLING])
def test_a_mistake_is_named_at_its_line(call, message):
    with pytest.raises(graphc.GraphcError) as caught:
        call()
    text = str(caught.value)
    assert re.search(message, text), text
    assert f"at test_mistakes.py:{call.__code__.co_firstlineno}" in text, text


def test_a_module_of_the_users_own_is_named_too():
    class Two(nn.Module):
        def forward(self, x, y):
            return x + y

    with pytest.raises(
        graphc.OptionError, match=r"Two\(\) missing 1 .*'y'; expected Two\(x, y\)\n  in Two at test_mis"
    ):
        Two()(X)
    with pytest.raises(graphc.OptionError, match=r"Two\(\) takes 1 .*; expected Two\(\)\n  in Two at test_mistakes"):
        Two(3)


def test_a_type_error_inside_forward_stays_as_it_is():
    class Wrong(nn.Module):
        def forward(self, x):
            return len(3)

    with pytest.raises(TypeError, match=r"object of type 'int' has no len\(\)") as caught:
        Wrong()(X)
    assert not isinstance(caught.value, graphc.GraphcError)
