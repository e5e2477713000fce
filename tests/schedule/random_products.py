"""Random products that are large enough for panels, strips and rounds, with what follows them: of other widths, too."""

import numpy as np

import graphc


class Products:
    """Grows large matrices beside what else a builder grows; `large` are those that may be outputs."""

    SIZES = ((1, 3, 17, 40, 70), (64, 65, 130, 300, 520, 1030), (1, 7, 15, 17, 48, 130))  # rows, depths, columns

    def begin_products(self):
        kind = self.pick([self.float, self.other])
        rows, depth, columns = (int(self.pick(sizes)) for sizes in self.SIZES)
        rows = self.pick([rows, rows, "n"])
        sides = [(rows, depth), (depth, columns)]
        self.flipped = [bool(self.rng.random() < 0.5) for _ in sides]
        shapes = [side[::-1] if flip else side for side, flip in zip(sides, self.flipped, strict=True)]
        self.factors = [graphc.input(f"g{k}", shape, kind) for k, shape in enumerate(shapes)]
        self.large = []
        known = [[self.length if size == "n" else size for size in shape] for shape in shapes]
        return [(self.rng.normal(size=shape) / np.sqrt(depth)).astype(kind) for shape in known]

    def product(self):
        left, right = (
            graphc.permute_dims(f) if flip else f for f, flip in zip(self.factors, self.flipped, strict=True)
        )
        kinds = [
            lambda: left @ right,
            lambda: graphc.tanh(left) @ right,
            lambda: left @ graphc.astype(graphc.astype(right, self.kind()), right.dtype),
            lambda: graphc.permute_dims(graphc.permute_dims(right) @ graphc.permute_dims(left)),
            lambda: graphc.einsum("ij,jk->ik", left, right * 0.5),
        ]
        return self.kept(self.pick(kinds)())

    def after(self):
        """What an epilogue may be: its operands are narrower or wider than the sums."""
        a = self.matrix()
        kind = self.kind()
        side = graphc.astype(graphc.remainder(graphc.arange(a.shape[1]), 3), self.pick([kind, "int32", "uint8"]))
        kinds = [
            lambda: graphc.tanh(a + side),
            lambda: graphc.where(side > 0, a, a * 0.5),
            lambda: graphc.astype(graphc.relu(a), kind),
            lambda: a * graphc.sum(a, axis=1, keepdims=True),
            lambda: graphc.softmax(a, axis=1),
            lambda: a + graphc.astype(self.matrix(), kind),
        ]
        return self.kept(self.pick(kinds)())

    def matrix(self):
        if not self.large:
            self.product()
        return self.pick(self.large)

    def kept(self, matrix):
        self.large.append(matrix)
        return graphc.sum(matrix, axis=int(self.pick([0, 1])))

    def factor_gradient(self):
        by = self.pick(self.factors)
        slope = graphc.grad(graphc.tanh(self.matrix()).sum(), by, disconnected="zeros")
        self.large.append(slope)
        return graphc.sum(slope, axis=int(self.pick([0, 1])))

    MATRICES = (product, after, after, after, factor_gradient)
