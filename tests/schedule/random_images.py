"""Random convolutions, pools and their gradients: odd strides, padding, dilation and groups, few channels, any batch."""

import numpy as np

import graphc

# The most elements that an array has, but for what n adds.
LARGEST = 700


class Images:
    """Grows images (n, height, width, channels) beside what else a builder grows."""

    CHANNELS = (1, 2, 3, 4, 5, 8, 16, 17, 24)

    def begin_images(self):
        shape = ("n", *(int(self.pick([1, 2, 3, 5, 6, 7])) for _ in range(2)), int(self.pick(self.CHANNELS)))
        self.picture = graphc.input("p", shape, self.pick([self.float, self.other]))
        self.images = [self.picture]
        self.filters = []
        return self.numbers((self.length, *shape[1:])).astype(self.picture.dtype.numpy)

    def image(self):
        return self.pick(self.images[-4:])

    def shown(self, image):
        """Keep an image for further layers, unless it is large."""
        if np.prod(image.shape[1:]) > LARGEST:
            raise graphc.ShapeError("a large image")
        self.images.append(image)
        return image

    def kernel(self, *shape):
        kernel = graphc.parameter(self.numbers(shape) * 0.5, f"f{len(self.filters)}", dtype=self.kind())
        self.filters.append(kernel)
        return kernel

    def small(self, *sizes):
        """One number for both axes, or one for each."""
        return self.pick([int(self.pick(sizes)), (int(self.pick(sizes)), int(self.pick(sizes)))])

    def padding(self):
        around = tuple((int(self.pick([0, 1, 2])), int(self.pick([0, 1, 3]))) for _ in range(2))
        return self.pick(["same", "valid", 1, (2, 0), (0, 1), around])

    def conv(self):
        x = self.image()
        channels = x.shape[-1]
        groups = int(self.pick([1, 1, 1, channels, 2 if channels % 2 == 0 else 1]))
        outputs = groups * int(self.pick([1, 2])) if groups > 1 else int(self.pick(self.CHANNELS))
        size = int(self.pick([1, 1, 2, 3, 4])), int(self.pick([1, 2, 3, 5]))
        options = {"stride": self.small(1, 1, 2, 3), "padding": self.padding(), "dilation": self.small(1, 1, 1, 2)}
        options["groups"] = groups
        if self.rng.random() < 0.7:
            return self.shown(graphc.conv2d(x, self.kernel(*size, channels // groups, outputs), **options))
        options["padding"] = self.pick(["valid", 0, 1])
        outputs = groups * int(self.pick([1, 2, 3]))
        return self.shown(graphc.conv_transpose2d(x, self.kernel(*size, outputs // groups, channels), **options))

    def conv_of_rows(self):
        a = graphc.tanh(self.pick([self.x, self.y, self.w]))
        groups = int(self.pick([1, 1, a.shape[1]]))
        size, outputs = int(self.pick([1, 2, 3])), groups * int(self.pick([1, 2, 17] if groups == 1 else [1, 2]))
        kernel = self.kernel(size, a.shape[1] // groups, outputs)
        return graphc.conv1d(
            a.reshape((1, *a.shape)),
            kernel,
            stride=int(self.pick([1, 2])),
            padding=int(self.pick([0, 2])),
            groups=groups,
        )[0]

    def pool(self):
        x, size, stride = self.image(), self.small(1, 2, 3), self.pick([None, self.small(1, 2, 3)])
        padding, ceil = int(self.pick([0, 0, 1])), bool(self.rng.random() < 0.5)
        kinds = [
            lambda: graphc.max_pool2d(x, size, stride, padding, ceil_mode=ceil),
            lambda: graphc.max_pool2d(x, size, stride, dilation=2),
            lambda: graphc.avg_pool2d(x, size, stride, padding, ceil, bool(self.rng.random() < 0.5)),
            lambda: graphc.adaptive_avg_pool2d(x, self.small(1, 2, 3)),
            lambda: graphc.adaptive_max_pool2d(x, self.small(1, 2)),
            lambda: graphc.interpolate(x, scale_factor=2, mode=self.pick(["nearest", "bilinear"])),
        ]
        return self.shown(self.pick(kinds)())

    def layer(self):
        """What follows a convolution: a bias, an activation, a norm by channel, what was there before."""
        x = self.image()
        channels = x.shape[-1]
        others = [y for y in self.images if y.shape == x.shape]
        kinds = [
            lambda: graphc.relu(x + self.kernel(channels)),
            lambda: graphc.tanh(x) * self.kernel(channels),
            lambda: graphc.relu(x) + self.pick(others),
            lambda: (x - graphc.mean(x, axis=(1, 2), keepdims=True)) * 0.5,
            lambda: graphc.astype(x, self.kind()),
            lambda: graphc.pad(x, [(0, 0), (1, 0), (0, 2), (0, 0)]),
        ]
        return self.shown(self.pick(kinds)())

    def learned(self):
        """A gradient by a filter or by the picture."""
        wanted = self.pick([self.picture, *self.filters[-4:]])
        return graphc.grad(graphc.tanh(self.image()).sum(), wanted, disconnected="zeros")

    LAYERS = (conv, conv, conv, conv_of_rows, pool, layer, layer, learned, learned)
