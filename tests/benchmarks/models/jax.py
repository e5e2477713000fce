"""The rows in JAX: NAME() returns parameters and their function of x; `Steps` trains them with optax's Adam."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax

from tests.benchmarks.rows import DEEP, GPT, IMAGES, RECURRENT, RESNET, ROWS, WIDTHS

_generator = np.random.default_rng(0)


def _linear(a, b):
    return {"w": jnp.asarray(_generator.normal(size=(a, b)).astype("float32") / np.sqrt(a)), "b": jnp.zeros(b)}


def _apply(p, x):
    return x @ p["w"] + p["b"]


def _mlp(widths, activation):
    def forward(parameters, x):
        for p in parameters[:-1]:
            x = activation(_apply(p, x))
        return _apply(parameters[-1], x)

    return [_linear(a, b) for a, b in itertools.pairwise(widths)], forward


def _layer_norm(p, x):
    centred = x - x.mean(-1, keepdims=True)
    return centred * jax.lax.rsqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * p["g"] + p["s"]


def _deep_mlp():
    width = DEEP["width"]
    blocks = [{**_linear(width, width), "g": jnp.ones(width), "s": jnp.zeros(width)} for _ in range(DEEP["layers"])]

    def forward(parameters, x):
        *blocks, last = parameters
        for p in blocks:
            x = x + jax.nn.gelu(_apply(p, _layer_norm(p, x)), approximate=False)
        return _apply(last, x)

    return [*blocks, _linear(width, DEEP["classes"])], forward


def _normalised(width):
    return {"g": jnp.ones(width), "s": jnp.zeros(width)}


def _gpt():
    width, heads, times = GPT["width"], GPT["heads"], GPT["times"]
    blocks = [
        {
            **{f"norm{k}": _normalised(width) for k in (1, 2)},
            **{"into": _linear(width, 3 * width), "out": _linear(width, width)},
            **{"up": _linear(width, 4 * width), "down": _linear(4 * width, width)},
        }
        for _ in range(GPT["layers"])
    ]
    tables = [jnp.asarray(_generator.normal(size=(n, width)).astype("float32")) for n in (GPT["tokens"], times)]

    def attend(p, x):
        parts = _apply(p["into"], x).reshape(*x.shape[:2], 3, heads, width // heads)
        q, k, v = (parts[:, :, n] for n in range(3))
        return _apply(p["out"], jax.nn.dot_product_attention(q, k, v, is_causal=True).reshape(x.shape))

    def forward(parameters, tokens):
        (tokens_of, places), blocks, norm, head = parameters
        x = tokens_of[tokens] + places
        for p in blocks:
            x = x + attend(p, _layer_norm(p["norm1"], x))
            x = x + _apply(p["down"], jax.nn.gelu(_apply(p["up"], _layer_norm(p["norm2"], x)), approximate=False))
        return _apply(head, _layer_norm(norm, x)).reshape(-1, GPT["tokens"])

    return (tables, blocks, _normalised(width), _linear(width, GPT["tokens"])), forward


def _cell(kind, carry, given, own):
    """Return the next carry, from what the input and the state give to the gates."""
    if kind == "RNN":
        return (jnp.tanh(given + own),)
    if kind == "LSTM":
        i, f, g, o = jnp.split(given + own, 4, -1)
        c = jax.nn.sigmoid(f) * carry[1] + jax.nn.sigmoid(i) * jnp.tanh(g)
        return jax.nn.sigmoid(o) * jnp.tanh(c), c
    (r1, u1, n1), (r2, u2, n2) = jnp.split(given, 3, -1), jnp.split(own, 3, -1)
    r, u = jax.nn.sigmoid(r1 + r2), jax.nn.sigmoid(u1 + u2)
    return ((1 - u) * jnp.tanh(n1 + r * n2) + u * carry[0],)


def _recurrent(kind, width, hidden, times, gates):
    parameters = {"x": _linear(width, gates * hidden), "h": _linear(hidden, gates * hidden), "o": _linear(hidden, 10)}

    def forward(p, x):
        start = (jnp.zeros((x.shape[1], hidden)),) * (2 if kind == "LSTM" else 1)
        last, _ = jax.lax.scan(
            lambda carry, given: (_cell(kind, carry, given, _apply(p["h"], carry[0])), None), start, _apply(p["x"], x)
        )
        return _apply(p["o"], last[0])

    return parameters, forward


def _filters(kernel, channels, filters):
    drawn = _generator.normal(size=(kernel, kernel, channels, filters)) / np.sqrt(kernel**2 * channels)
    return jnp.asarray(drawn.astype("float32"))


def _convolved(weight, x, stride=1, padding="SAME"):
    return jax.lax.conv_general_dilated(
        x, weight, (stride, stride), padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def _pooled(x):
    return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")


def _lenet():
    convolutions = [{"w": _filters(5, a, b), "b": jnp.zeros(b)} for a, b in ((1, 6), (6, 16))]
    layers = [_linear(a, b) for a, b in itertools.pairwise((400, 120, 84, 10))]

    def forward(parameters, x):
        (first, second), (*layers, last) = parameters
        x = _pooled(jax.nn.relu(_convolved(first["w"], x) + first["b"]))
        x = _pooled(jax.nn.relu(_convolved(second["w"], x, padding="VALID") + second["b"])).reshape(len(x), -1)
        for p in layers:
            x = jax.nn.relu(_apply(p, x))
        return _apply(last, x)

    return (convolutions, layers), forward


def _cnn():
    convolutions = [{"w": _filters(3, a, b), "b": jnp.zeros(b)} for a, b in ((1, 32), (32, 64))]

    def forward(parameters, x):
        convolutions, (hidden, last) = parameters
        for p in convolutions:
            x = jax.nn.relu(_convolved(p["w"], x) + p["b"])
        return _apply(last, jax.nn.relu(_apply(hidden, _pooled(x).reshape(len(x), -1))))

    return (convolutions, [_linear(64 * 14 * 14, 128), _linear(128, 10)]), forward


def _batch_norm(p, x):
    """Normalise by the batch; its running statistics, which only a prediction reads, are left out."""
    centred = x - x.mean((0, 1, 2))
    return centred * jax.lax.rsqrt((centred**2).mean((0, 1, 2)) + 1e-5) * p["g"] + p["s"]


def _resnet20():
    blocks = []
    for a, b in itertools.pairwise(RESNET):
        block = {"w1": _filters(3, a, b), "n1": _normalised(b), "w2": _filters(3, b, b), "n2": _normalised(b)}
        around = {"w": _filters(1, a, b), "n": _normalised(b)} if a != b else {}
        blocks.append((block, around))

    def forward(parameters, x):
        first, norm, blocks, last = parameters
        x = jax.nn.relu(_batch_norm(norm, _convolved(first, x)))
        for p, around in blocks:
            stride = 2 if around else 1
            inner = jax.nn.relu(_batch_norm(p["n1"], _convolved(p["w1"], x, stride)))
            if around:
                x = _batch_norm(around["n"], _convolved(around["w"], x, stride))
            x = jax.nn.relu(_batch_norm(p["n2"], _convolved(p["w2"], inner)) + x)
        return _apply(last, x.mean((1, 2)))

    return (_filters(3, 3, 16), _normalised(16), blocks, _linear(64, 10)), forward


MODELS = {
    "mlp_tiny": lambda: _mlp(WIDTHS["mlp_tiny"], jnp.tanh),
    "mlp": lambda: _mlp(WIDTHS["mlp"], jax.nn.relu),
    "mlp_big": lambda: _mlp(WIDTHS["mlp_big"], jax.nn.relu),
    "deep_mlp": _deep_mlp,
    **{row: functools.partial(_recurrent, *what) for row, what in RECURRENT.items()},
    **{"lenet": _lenet, "cnn": _cnn, "resnet20": _resnet20},
    "gpt": _gpt,
}


class Steps:
    """A row's training step: compiled for itself (`jit`), or many in one scan."""

    MODES = ("jit", "scan")

    def __init__(self, row, threads):
        parameters, forward = MODELS[row]()
        x, y = (jnp.asarray(one) for one in ROWS[row].arrays())
        optimizer = optax.adam(1e-3)

        def loss(parameters, x, y):
            chosen = jnp.take_along_axis(jax.nn.log_softmax(forward(parameters, x)), y[:, None], -1)
            return -chosen.mean()

        def step(carry, x, y):
            parameters, slots = carry
            value, gradients = jax.value_and_grad(loss)(parameters, x, y)
            updates, slots = optimizer.update(gradients, slots)
            return (optax.apply_updates(parameters, updates), slots), value

        @functools.partial(jax.jit, donate_argnums=0, static_argnums=3)
        def many(carry, x, y, count):
            return jax.lax.scan(lambda carry, _: step(carry, x, y), carry, None, length=count)

        self.arrays, self.carry = (x, y), (parameters, optimizer.init(parameters))
        self.step, self.many = jax.jit(step, donate_argnums=0), many
        if row in IMAGES:
            self.MODES = (
                "jit",
            )  # XLA's loops call no library for their convolutions: a scan takes 4 to 25 times as long

    def first(self):
        """Make the first step, to the value of its loss."""
        self.carry, loss = self.step(self.carry, *self.arrays)
        return float(loss)

    def jit(self, count):
        for _ in range(count):
            self.carry, loss = self.step(self.carry, *self.arrays)
        loss.block_until_ready()

    def scan(self, count):
        self.carry, losses = self.many(self.carry, *self.arrays, count)
        losses.block_until_ready()
