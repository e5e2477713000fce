"""The digits step, for tests: the graph of examples/digits_mlp.py on data that needs no download."""

import numpy as np

import graphc
from graphc import nn, optim


def digits_step(hidden=256, dropout=0.3, threads=None):
    graphc.seed(0)
    x = graphc.input("x", ("batch", 64))
    y = graphc.input("y", ("batch",), "int64")
    net = nn.Sequential(nn.Linear(64, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, 10))
    loss = nn.cross_entropy(net(x), y)
    step = graphc.compile([x, y], {"loss": loss}, updates=optim.Adam(2e-3).minimize(loss), threads=threads)
    return step, net, x, y


def data(samples, seed=0):
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 10, samples)
    images = generator.normal(size=(10, 64))[labels] + 0.5 * generator.normal(size=(samples, 64))
    return images.astype(np.float32), labels
