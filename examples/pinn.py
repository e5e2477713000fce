"""A network that solves Burgers' equation because its derivatives are told to: u_t + u u_x = nu u_xx.

Raissi, Perdikaris and Karniadakis, Physics-informed neural networks, Journal of Computational Physics 378 (2019). No
solution is shown to the network. Its loss is how far it is from satisfying the equation at scattered points, so the
gradient of the loss is a third derivative of the network.

python examples/pinn.py                  # prints the relative error against the exact solution
"""

import argparse

import numpy as np
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits

import graphc
from graphc import nn, optim

VISCOSITY = 0.05 / np.pi


def exact(x: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Return the solution that starts as -sin(pi x), at arrays of one shape; t above 0.

    Cole and Hopf: with an exponential of u's integral in its place the equation is that of heat, whose solution is an
    average of the start with a Gaussian weight (Basdevant et al., Computers and Fluids 14, 1986). The average is taken
    by Gauss-Hermite quadrature.
    """
    nodes, quadrature = np.polynomial.hermite.hermgauss(100)
    y = x[..., None] - np.sqrt(4 * VISCOSITY * t)[..., None] * nodes
    weights = quadrature * np.exp(-(1 + np.cos(np.pi * y)) / (2 * np.pi * VISCOSITY))
    return -np.sum(np.sin(np.pi * y) * weights, axis=-1) / np.sum(weights, axis=-1)


class Solution(nn.Module):
    """u(x, t) for columns of points, which starts as -sin(pi x) and is 0 at x = -1 and 1 whatever the network says."""

    def __init__(self, layers: int) -> None:
        parts = [nn.Linear(2, 16, dtype="float64"), nn.Tanh()]
        for _ in range(layers - 1):
            parts += [nn.Linear(16, 16, dtype="float64"), nn.Tanh()]
        self.net = nn.Sequential(*parts, nn.Linear(16, 1, dtype="float64"))

    def forward(self, x: graphc.Node, t: graphc.Node) -> graphc.Node:
        return -graphc.sin(np.pi * x) + t * (1.0 - x * x) * self.net(graphc.concat([x, t], axis=1))


def main(steps: int = 1500, layers: int = 3) -> float:
    """Train by Adam, then by L-BFGS, this many steps each; return the relative error in the Euclidean norm."""
    graphc.seed(0)
    solution = Solution(layers)

    # 1. The network at 2048 points. A number of points that is known when compiling makes for smaller kernels.
    x, t = graphc.input("x", (2048, 1), "float64"), graphc.input("t", (2048, 1), "float64")
    u = solution(x, t)

    # 2. Each u depends on its own point only, so the gradient of their sum holds the derivative at each point.
    u_x, u_t = graphc.grad(graphc.sum(u), (x, t))
    u_xx = graphc.grad(graphc.sum(u_x), x)
    loss = graphc.mean(graphc.square(u_t + u * u_x - VISCOSITY * u_xx))

    # 3. Adam finds the region, on points spread evenly over x from -1 to 1 and t from 0 to 1.
    spread = np.outer([0.7548776662466927, 0.5698402909980532], np.arange(2048)) % 1  # Roberts' sequence
    data = [2 * spread[0, :, None] - 1, spread[1, :, None]]
    train = graphc.compile([x, t], {"loss": loss}, updates=optim.Adam(2e-3).minimize(loss))
    losses = train.repeat(steps, data).run()["loss"]

    # 4. SciPy's L-BFGS goes on from there; to it the loss is a function of one vector that holds all parameters.
    function = graphc.flat_function(loss, solution.parameters(), {x: data[0], t: data[1]})
    options = {"maxiter": steps, "maxfun": 2 * steps, "maxcor": 50, "ftol": 0.0, "gtol": 1e-9}
    # SciPy's own vectors are short: on several threads they would only take the cores from graphc.
    with threadpool_limits(1):
        found = minimize(function, function.initial, jac=True, method="L-BFGS-B", options=options)
    function.assign(found.x)

    # 5. The same network on a grid, whose points it has not seen.
    x, t = graphc.input("x", (20000, 1), "float64"), graphc.input("t", (20000, 1), "float64")
    grid = [axis.reshape(-1, 1) for axis in np.meshgrid(np.linspace(-1, 1, 200), np.linspace(0.01, 1, 100))]
    predicted, reference = graphc.compile([x, t], solution(x, t))(*grid), exact(*grid)
    error = float(np.linalg.norm(predicted - reference) / np.linalg.norm(reference))
    print(f"mean squared residual: {losses[0]:.2g} -> {losses[-1]:.2g} by Adam -> {found.fun:.2g} by L-BFGS")
    print(f"relative error of the solution: {error:.1e}")
    return error


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1500, help="steps of Adam, and of L-BFGS (default 1500)")
    parser.add_argument("--layers", type=int, default=3, help="hidden layers of 16 units (default 3)")
    options = parser.parse_args()
    main(options.steps, options.layers)
