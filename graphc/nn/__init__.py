"""Modules and losses, with the names, defaults and numerics of PyTorch."""

from graphc.nn.activation import ReLU, Sigmoid, Tanh
from graphc.nn.containers import ModuleDict, ModuleList, Sequential
from graphc.nn.linear import Bilinear, Linear, bilinear, linear
from graphc.nn.loss import cross_entropy
from graphc.nn.module import Module, functional_call
from graphc.nn.shape import Flatten, Identity
from graphc.nn.stochastic import Dropout, dropout

__all__ = [
    "Bilinear",
    "Dropout",
    "Flatten",
    "Identity",
    "Linear",
    "Module",
    "ModuleDict",
    "ModuleList",
    "ReLU",
    "Sequential",
    "Sigmoid",
    "Tanh",
    "bilinear",
    "cross_entropy",
    "dropout",
    "functional_call",
    "linear",
]
