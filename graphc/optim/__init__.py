"""Optimizers: training rules as graphs, with the names, defaults and numerics of PyTorch."""

from graphc.optim.adam import Adam
from graphc.optim.optimizer import Optimizer
from graphc.optim.sgd import SGD

__all__ = ["SGD", "Adam", "Optimizer"]
