"""The rows in PyTorch: NAME() returns a module; `Steps` trains them, as they are or by torch.compile."""

import functools
import itertools

import torch
from torch import nn

from tests.benchmarks.rows import DEEP, GPT, RECURRENT, ROWS, WIDTHS


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


class Block(nn.Module):
    """Causal attention and a network for each position, each normalised before and added."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.into, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.network = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x):
        batch, times, width = x.shape
        parts = self.into(self.norms[0](x)).view(batch, times, 3, self.heads, width // self.heads)
        attended = nn.functional.scaled_dot_product_attention(*parts.permute(2, 0, 3, 1, 4), is_causal=True)
        x = x + self.out(attended.transpose(1, 2).reshape(x.shape))
        return x + self.network(self.norms[1](x))


class Gpt(nn.Module):
    """Embeddings of tokens and places, blocks, and a score for each token."""

    def __init__(self):
        super().__init__()
        width = GPT["width"]
        self.embedding, self.positions = nn.Embedding(GPT["tokens"], width), nn.Embedding(GPT["times"], width)
        self.blocks = nn.Sequential(*[Block(width, GPT["heads"]) for _ in range(GPT["layers"])])
        self.end = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, GPT["tokens"]))

    def forward(self, tokens):
        return self.end(self.blocks(self.embedding(tokens) + self.positions.weight)).flatten(0, 1)


class Recurrent(nn.Module):
    """A recurrent layer and a linear one of its last output."""

    def __init__(self, kind, width, hidden, times, gates):
        super().__init__()
        self.layer, self.head = getattr(nn, kind)(width, hidden), nn.Linear(hidden, 10)

    def forward(self, x):
        return self.head(self.layer(x)[0][-1])


MODELS = {
    "mlp_tiny": lambda: _mlp(WIDTHS["mlp_tiny"], nn.Tanh),
    "mlp": lambda: _mlp(WIDTHS["mlp"], nn.ReLU),
    "mlp_big": lambda: _mlp(WIDTHS["mlp_big"], nn.ReLU),
    "deep_mlp": lambda: nn.Sequential(
        *[Residual(DEEP["width"]) for _ in range(DEEP["layers"])], nn.Linear(DEEP["width"], DEEP["classes"])
    ),
    **{row: functools.partial(Recurrent, *what) for row, what in RECURRENT.items()},
    "gpt": Gpt,
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
        return self._step().item()

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
