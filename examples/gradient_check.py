"""Is the gradient right? Finite differences tell, if their step is neither too long nor too short.

Each weight of a small network is moved a little to both sides, and the slope of the loss is compared with graphc.grad;
in the same way the slope of the gradient with graphc.hessian. A long step misses the curve, a short one loses digits.

python examples/gradient_check.py        # prints the error for each step
"""

import numpy as np

import graphc
from graphc import nn


def differences(function, at, step):
    """Return the central differences of `function` at a vector, one row for each of its elements."""
    moves = step * np.eye(len(at))
    return np.array([(function(at + move) - function(at - move)) / (2 * step) for move in moves])


def main() -> dict[float, tuple[float, float]]:
    """Return, for each step, the largest error of the differences of the loss and of the gradient."""
    rng = np.random.default_rng(0)
    points, labels = rng.normal(size=(20, 4)), rng.integers(3, size=20)

    # The weights are one input here, so that moving them is ordinary arithmetic. Double precision throughout: the
    # difference of two float32 losses is good for two or three digits only.
    weights = graphc.input("weights", (43,), "float64")
    hidden = graphc.tanh(points @ weights[:20].reshape(4, 5) + weights[20:25])
    scores = hidden @ weights[25:40].reshape(5, 3) + weights[40:]
    loss = nn.cross_entropy(scores, graphc.constant(labels))
    loss_at = graphc.compile([weights], loss)
    gradient_at = graphc.compile([weights], graphc.grad(loss, weights))
    hessian_at = graphc.compile([weights], graphc.hessian(loss, weights))

    at = rng.normal(size=43)
    gradient, hessian = gradient_at(at), hessian_at(at)
    print("step    error of the gradient   error of the Hessian")
    errors = {}
    for step in (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9):
        first = np.abs(differences(loss_at, at, step) - gradient).max()
        second = np.abs(differences(gradient_at, at, step) - hessian).max()
        errors[step] = float(first), float(second)
        print(f"{step:.0e}   {first:21.0e}   {second:20.0e}")
    best = min(first for first, _ in errors.values())
    print(f"least error of the gradient: below {10.0 ** np.ceil(np.log10(best)):.0e}")
    print(f"the Hessian equals its transpose to {np.abs(hessian - hessian.T).max():.0e}")
    return errors


if __name__ == "__main__":
    main()
