"""Optimizers: training rules as graphs, with the names, defaults and numerics of PyTorch."""

import sys
from typing import TYPE_CHECKING, NoReturn

from graphc.graph.elsewhere import OF_OPTIM
from graphc.optim.adagrad import Adagrad
from graphc.optim.adam import Adam, AdamW
from graphc.optim.optimizer import Optimizer
from graphc.optim.rmsprop import RMSprop
from graphc.optim.sgd import SGD
from graphc.optim.updates import Updates
from graphc.origin import refuse_attribute

__all__ = ["SGD", "Adagrad", "Adam", "AdamW", "Optimizer", "RMSprop", "Updates"]

if not TYPE_CHECKING:  # A type checker is to report names that there are not.

    def __getattr__(name: str) -> NoReturn:
        """Say what a name of another framework is here."""
        refuse_attribute(sys.modules[__name__], name, OF_OPTIM)
