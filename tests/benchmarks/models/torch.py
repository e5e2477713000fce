"""The rows in PyTorch: NAME() returns a module; `Steps` trains them, as they are or by torch.compile."""

import functools
import itertools

import torch
from torch import nn

from tests.benchmarks.rows import DEEP, GPT, IMAGES, RECURRENT, RESNET, ROWS, WIDTHS


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


class Bypassed(nn.Module):
    """Two convolutions with batch norm, and a way around both."""

    def __init__(self, channels, filters):
        super().__init__()
        stride = filters // channels
        self.conv1 = nn.Conv2d(channels, filters, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(filters)
        self.conv2 = nn.Conv2d(filters, filters, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(filters)
        self.around = nn.Identity()
        if stride > 1:
            self.around = nn.Sequential(nn.Conv2d(channels, filters, 1, stride, bias=False), nn.BatchNorm2d(filters))

    def forward(self, x):
        inner = nn.functional.relu(self.bn1(self.conv1(x)))
        return nn.functional.relu(self.bn2(self.conv2(inner)) + self.around(x))


def _lenet():
    return nn.Sequential(
        *(nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
        *(nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10)),
    )


def _cnn():
    return nn.Sequential(
        *(nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(64 * 14 * 14, 128), nn.ReLU(), nn.Linear(128, 10)),
    )


def _resnet20():
    return nn.Sequential(
        *(nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()),
        *(Bypassed(a, b) for a, b in itertools.pairwise(RESNET)),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)),
    )


MODELS = {
    "mlp_tiny": lambda: _mlp(WIDTHS["mlp_tiny"], nn.Tanh),
    "mlp": lambda: _mlp(WIDTHS["mlp"], nn.ReLU),
    "mlp_big": lambda: _mlp(WIDTHS["mlp_big"], nn.ReLU),
    "deep_mlp": lambda: nn.Sequential(
        *[Residual(DEEP["width"]) for _ in range(DEEP["layers"])], nn.Linear(DEEP["width"], DEEP["classes"])
    ),
    **{row: functools.partial(Recurrent, *what) for row, what in RECURRENT.items()},
    **{"lenet": _lenet, "cnn": _cnn, "resnet20": _resnet20},
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
        if row in IMAGES:
            self.x = self.x.permute(0, 3, 1, 2).contiguous()
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


class LastSteps(Steps):
    """The same with images and filters channels last."""

    MODES = ("channels_last",)

    def __init__(self, row, threads):
        super().__init__(row, threads)
        if row in IMAGES:
            self.net = self.net.to(memory_format=torch.channels_last)
            self.x = self.x.contiguous(memory_format=torch.channels_last)

    channels_last = Steps.eager
