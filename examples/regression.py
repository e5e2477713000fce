"""Linear, logistic and polynomial regression by gradient descent, each beside a solution found in another way.

python examples/regression.py            # prints how far each ends from that solution
"""

import argparse

import numpy as np
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.linear_model import LogisticRegression

import graphc
from graphc import nn, optim


def descend(features, targets, loss_of, rate, steps):
    """Return the weights after this many full-batch steps down `loss_of(scores, targets, weights)`, and the losses.

    features: (samples, columns), targets: (samples,); the weights start at zero.
    """
    x = graphc.input("x", ("samples", features.shape[1]), "float64")
    y = graphc.input("y", ("samples",), "float64")
    weights = graphc.parameter(np.zeros(features.shape[1]), "weights")
    loss = loss_of(x @ weights, y, weights)
    step = graphc.compile([x, y], {"loss": loss}, updates=optim.SGD(rate).minimize(loss))
    # All steps run natively, one after another, on the same arrays; there is one loss for each.
    losses = step.repeat(steps, [features, targets]).run()["loss"]
    return weights.value, losses


def squared_error(scores, targets, weights):
    return nn.mse_loss(scores, targets)


def logistic_loss(scores, targets, weights):
    # Without a small penalty on large weights there would be no optimum to reach on classes that a plane separates.
    return nn.binary_cross_entropy_with_logits(scores, targets) + 0.005 * graphc.sum(graphc.square(weights))


def with_ones(columns):
    """Return standardised columns and one of ones, whose weight is the intercept."""
    scaled = (columns - columns.mean(axis=0)) / columns.std(axis=0)
    return np.column_stack([scaled, np.ones(len(scaled))])


def linear(steps):
    data = load_diabetes()
    features, targets = with_ones(data.data), data.target
    weights, _ = descend(features, targets, squared_error, rate=0.2, steps=steps)
    closed_form = np.linalg.lstsq(features, targets, rcond=None)[0]
    explained = 1 - np.var(targets - features @ weights) / np.var(targets)
    return f"R^2 = {explained:.4f}", weights, closed_form


def logistic(steps):
    data = load_breast_cancer()
    features, targets = with_ones(data.data), data.target.astype(np.float64)
    weights, _ = descend(features, targets, logistic_loss, rate=0.5, steps=steps)
    # scikit-learn sums the losses and halves the penalty; Newton's method brings it to the optimum.
    model = LogisticRegression(C=1 / (0.01 * len(targets)), fit_intercept=False, solver="newton-cholesky", tol=1e-12)
    optimum = model.fit(features, targets).coef_[0]
    return f"accuracy = {np.mean((features @ weights > 0) == targets):.4f}", weights, optimum


def polynomial(steps):
    rng = np.random.default_rng(0)
    x = np.linspace(-1, 1, 200)
    targets = np.sin(3 * x) + 0.1 * rng.normal(size=200)
    # Legendre polynomials are nearly orthogonal on these points; with powers of x descent would take far longer.
    features = np.polynomial.legendre.legvander(x, 7)
    weights, _ = descend(features, targets, squared_error, rate=0.5, steps=steps)
    closed_form = np.polynomial.Legendre.fit(x, targets, 7).coef
    error = np.sqrt(np.mean((features @ weights - np.sin(3 * x)) ** 2))
    return f"distance from sin(3x) = {error:.4f}", weights, closed_form


def main(steps: int = 20000) -> dict[str, float]:
    """Run all three and return how far their weights are from the other solution, relative to its length."""
    distances = {}
    for regression in (linear, logistic, polynomial):
        figure, weights, solution = regression(steps)
        distance = np.linalg.norm(weights - solution) / np.linalg.norm(solution)
        distances[regression.__name__] = float(distance)
        reached = f"{distance:.0e}" if distance > 1e-6 else "below 1e-6"
        print(f"{regression.__name__:10} {figure}, relative distance to the solution {reached}")
    return distances


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=20000, help="steps of gradient descent (default 20000)")
    main(parser.parse_args().steps)
