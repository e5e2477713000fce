"""Optimizers against PyTorch's, where it is installed: the same options, twenty steps, float64."""

import numpy as np
import pytest

import graphc
from graphc import optim

torch = pytest.importorskip("torch")
START = {"w": np.random.default_rng(0).normal(size=(4, 3)), "b": np.linspace(-1, 1, 3)}
CASES = [
    ("SGD", {}),
    ("SGD", {"momentum": 0.9, "dampening": 0.4, "weight_decay": 0.05}),
    ("SGD", {"momentum": 0.9, "nesterov": True}),
    ("Adam", {}),
    ("Adam", {"weight_decay": 0.1, "amsgrad": True, "betas": (0.6, 0.7)}),
    ("AdamW", {}),
    ("AdamW", {"weight_decay": 0.3, "amsgrad": True}),
    ("RMSprop", {}),
    ("RMSprop", {"momentum": 0.8, "centered": True, "weight_decay": 0.1, "alpha": 0.9}),
    ("Adagrad", {}),
    ("Adagrad", {"lr_decay": 0.1, "weight_decay": 0.1, "initial_accumulator_value": 0.3}),
]


@pytest.mark.parametrize(("name", "options"), CASES)
@pytest.mark.parametrize("clip", [None, 0.7])
def test_twenty_steps(name, options, clip):
    x = np.random.default_rng(1).normal(size=(5, 4))
    theirs = {key: torch.tensor(value, requires_grad=True) for key, value in START.items()}
    rates = {"w": 0.05, "b": 0.02}
    groups = [{"params": [p], "lr": rates[key]} for key, p in theirs.items()]
    their_optimizer = getattr(torch.optim, name)(groups, **options)
    for _ in range(20):
        their_optimizer.zero_grad()
        (torch.tanh(torch.tensor(x) @ theirs["w"] + theirs["b"]) ** 2).mean().backward()
        if clip:
            torch.nn.utils.clip_grad_norm_(theirs.values(), clip / 10)
        their_optimizer.step()

    ours = {key: graphc.parameter(value, key) for key, value in START.items()}
    loss = graphc.mean(graphc.square(graphc.tanh(graphc.constant(x) @ ours["w"] + ours["b"])))
    optimizer = getattr(optim, name)(rates["w"], **options, clip_norm=clip and clip / 10)
    groups = [{"parameters": [p], "learning_rate": rates[key]} for key, p in ours.items()]
    step = graphc.compile([], {"loss": loss}, updates=optimizer.minimize(loss, groups))
    for _ in range(20):
        step()
    for key, p in ours.items():
        np.testing.assert_allclose(p.value, theirs[key].detach().numpy(), rtol=1e-9, atol=1e-12)
