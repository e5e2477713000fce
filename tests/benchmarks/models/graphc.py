"""The rows in graphc: NAME() returns x, y and the loss; `Steps` trains them."""

import functools
import itertools

import graphc
from graphc import nn, optim
from tests.benchmarks.rows import DEEP, GPT, IMAGES, RECURRENT, RESNET, ROWS, WIDTHS


def _classified(net, width):
    x, y = graphc.input("x", ("batch", width)), graphc.input("y", ("batch",), "int64")
    return x, y, nn.cross_entropy(net(x), y)


def _mlp(widths, activation):
    layers = [m for a, b in itertools.pairwise(widths) for m in (nn.Linear(a, b), activation())]
    return _classified(nn.Sequential(*layers[:-1]), widths[0])


class Residual(nn.Module):
    """x + GELU(Linear(LayerNorm(x)))."""

    def __init__(self, width):
        self.inner = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU())

    def forward(self, x):
        return x + self.inner(x)


def _deep_mlp():
    blocks = [Residual(DEEP["width"]) for _ in range(DEEP["layers"])]
    return _classified(nn.Sequential(*blocks, nn.Linear(DEEP["width"], DEEP["classes"])), DEEP["width"])


class Gpt(nn.Module):
    """Embeddings of tokens and places, blocks of causal attention that are normalised before, and a score for each token."""

    def __init__(self):
        width = GPT["width"]
        self.embedding = nn.Embedding(GPT["tokens"], width)
        self.positions = nn.PositionEmbedding(GPT["times"], width)
        options = {"dropout": 0.0, "activation": "gelu", "norm_first": True, "batch_first": True}
        layers = range(GPT["layers"])
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(width, GPT["heads"], 4 * width, **options) for _ in layers
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, GPT["tokens"])

    def forward(self, tokens):
        x = self.positions(self.embedding(tokens))
        for block in self.blocks:
            x = block(x, is_causal=True)
        return self.head(self.norm(x))


def _gpt():
    x = graphc.input("x", (GPT["batch"], GPT["times"]), "int64")
    y = graphc.input("y", (GPT["batch"] * GPT["times"],), "int64")
    return x, y, nn.cross_entropy(Gpt()(x).reshape(y.shape[0], GPT["tokens"]), y)


def _recurrent(kind, width, hidden, times, gates):
    x, y = graphc.input("x", ("time", "batch", width)), graphc.input("y", ("batch",), "int64")
    outputs, _ = getattr(nn, kind)(width, hidden)(x)
    return x, y, nn.cross_entropy(nn.Linear(hidden, 10)(outputs[-1]), y)


class Bypassed(nn.Module):
    """Two convolutions with batch norm, and a way around both."""

    def __init__(self, channels, filters):
        stride = filters // channels
        self.conv1 = nn.Conv2d(channels, filters, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(filters)
        self.conv2 = nn.Conv2d(filters, filters, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(filters)
        self.around = nn.Identity()
        if stride > 1:
            self.around = nn.Sequential(nn.Conv2d(channels, filters, 1, stride, bias=False), nn.BatchNorm2d(filters))

    def forward(self, x):
        inner = nn.relu(self.bn1(self.conv1(x)))
        return nn.relu(self.bn2(self.conv2(inner)) + self.around(x))


def _images(row, *layers):
    _, side, channels = IMAGES[row]
    x = graphc.input("x", ("batch", side, side, channels))
    y = graphc.input("y", ("batch",), "int64")
    return x, y, nn.cross_entropy(nn.Sequential(*layers)(x), y)


def _lenet():
    return _images(
        "lenet",
        *(nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
        *(nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10)),
    )


def _cnn():
    return _images(
        "cnn",
        *(nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(64 * 14 * 14, 128), nn.ReLU(), nn.Linear(128, 10)),
    )


def _resnet20():
    return _images(
        "resnet20",
        *(nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()),
        *(Bypassed(a, b) for a, b in itertools.pairwise(RESNET)),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)),
    )


MODELS = {
    "mlp_tiny": lambda: _mlp(WIDTHS["mlp_tiny"], nn.Tanh),
    "mlp": lambda: _mlp(WIDTHS["mlp"], nn.ReLU),
    "mlp_big": lambda: _mlp(WIDTHS["mlp_big"], nn.ReLU),
    "deep_mlp": _deep_mlp,
    **{row: functools.partial(_recurrent, *what) for row, what in RECURRENT.items()},
    **{"lenet": _lenet, "cnn": _cnn, "resnet20": _resnet20},
    "gpt": _gpt,
}


class Steps:
    """A row's training step: `call` from Python, `bind` with its buffers fixed, `run` many as one native program."""

    MODES = ("call", "bind", "run")

    def __init__(self, row, threads):
        x, y, loss = MODELS[row]()
        self.arrays = list(ROWS[row].arrays())
        self.step = graphc.compile([x, y], loss, updates=optim.Adam(1e-3).minimize(loss), threads=threads)
        self.sizes = ROWS[row].sizes

    def first(self):
        """Make the first step, to the value of its loss."""
        return float(self.step(*self.arrays))

    def step_bytes(self):
        """Return what a step is said to take for temporaries and results; by then the plan is bound and its code loaded."""
        self.step.binding(**self.sizes)
        return self.step.peak_bytes(**self.sizes)

    def about(self):
        """Return the bytes of a step's arrays: temporaries, results, parameters, states, arguments; and those that it touches."""
        # What counts imports is the compiler, of which a start from the cache has no need.
        from tests.benchmarks.counts import footprint

        self.bound = self.step.bind(*self.arrays)
        stored = sum(one.nbytes for one in (*self.arrays, *(leaf.value for leaf in self.step.updates)))
        return {
            "arrays": self.step.peak_bytes(**self.sizes) + stored,
            "footprint": footprint(self.step.plan, self.sizes),
        }

    def call(self, count):
        for _ in range(count):
            self.step(*self.arrays)

    def bind(self, count):
        for _ in range(count):
            self.bound()

    def run(self, count):
        self.step.repeat(count, self.arrays).run()
