"""Modules and losses, with the names, defaults and numerics of PyTorch."""

from graphc.nn.activation import ReLU, Sigmoid, Tanh
from graphc.nn.linear import Linear
from graphc.nn.loss import cross_entropy
from graphc.nn.module import Module, ModuleList, Sequential, functional_call
from graphc.nn.shape import Flatten
from graphc.nn.stochastic import Dropout, dropout

__all__ = [
    "Dropout",
    "Flatten",
    "Linear",
    "Module",
    "ModuleList",
    "ReLU",
    "Sequential",
    "Sigmoid",
    "Tanh",
    "cross_entropy",
    "dropout",
    "functional_call",
]
