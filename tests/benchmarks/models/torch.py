"""The rows in PyTorch: NAME() returns a module; `Steps` trains them, as they are or by torch.compile."""

import itertools

import torch
from torch import nn

from tests.benchmarks.rows import DEEP, ROWS, WIDTHS


def _mlp(widths, activation):
    layers = [m for a, b in itertools.pairwise(widths) for m in (nn.Linear(a, b), activation())]
    return nn.Sequential(*layers[:-1])


class Residual(nn.Module):
    """x + GELU(Linear(LayerNorm(x)))."""

    def __init__(self, width):
        super().__init__()
        self.inner = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU())

    def forward(self, x):
        return x + self.inner(x)


MODELS = {
    "mlp_tiny": lambda: _mlp(WIDTHS["mlp_tiny"], nn.Tanh),
    "mlp": lambda: _mlp(WIDTHS["mlp"], nn.ReLU),
    "mlp_big": lambda: _mlp(WIDTHS["mlp_big"], nn.ReLU),
    "deep_mlp": lambda: nn.Sequential(
        *[Residual(DEEP["width"]) for _ in range(DEEP["layers"])], nn.Linear(DEEP["width"], DEEP["classes"])
    ),
}


class Steps:
    """A row's training step with the fused Adam."""

    MODES = ("eager",)

    def __init__(self, row, threads):
        torch.manual_seed(0)
        torch.set_num_threads(threads)
        self.net = MODELS[row]()
        self.x, self.y = (torch.from_numpy(one) for one in ROWS[row].arrays())
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=1e-3, fused=True)
        self.loss = self._loss

    def _loss(self, x, y):
        return nn.functional.cross_entropy(self.net(x), y)

    def _step(self):
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss(self.x, self.y)
        loss.backward()
        self.optimizer.step()
        return loss

    def first(self):
        """Make the first step, to the value of its loss."""
        return float(self._step())

    def eager(self, count):
        for _ in range(count):
            self._step()


class CompiledSteps(Steps):
    """The same with the forward and the backward compiled."""

    MODES = ("compiled",)

    def __init__(self, row, threads):
        super().__init__(row, threads)
        self.loss = torch.compile(self._loss)

    compiled = Steps.eager
