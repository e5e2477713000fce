"""What things are called in other frameworks, and what to write here: for nodes, functions of `graphc` and their options.

Modules, optimizers and executables have tables of their own, beside their classes.
"""

from __future__ import annotations

# What NumPy's functions call themselves, where that differs from the name here (and in the array API standard).
OF_NUMPY = {
    **{"power": "pow", "left_shift": "bitwise_left_shift", "right_shift": "bitwise_right_shift"},
    **{"absolute": "abs", "invert": "bitwise_invert", "rint": "round", "arctan2": "atan2"},
    **{f"arc{name}": f"a{name}" for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh")},
    **{"concatenate": "concat", "transpose": "permute_dims", "cumsum": "cumulative_sum", "amax": "max", "amin": "min"},
}

_VALUE = "the value is known when the graph runs: use node.eval({input: array}), or call what graphc.compile returns"
_DEVICE = "graphc computes on CPUs, so there is nothing to move"
_GRADIENT = "gradients are nodes: graphc.grad(loss, parameters), or optimizer.minimize(loss) for the updates of a step"
_TRAINED = "what is trained is a graphc.parameter (see its .trainable), and graphc.grad differentiates by any node"
# What nodes are called for in other frameworks, with what to do here.
OF_NODES = {
    **dict.fromkeys(("numpy", "item", "tolist", "data"), _VALUE),
    **dict.fromkeys(("cpu", "cuda", "to", "device"), _DEVICE),
    **dict.fromkeys(("backward", "grad"), _GRADIENT),
    **dict.fromkeys(("requires_grad", "requires_grad_"), _TRAINED),
    "detach": "graphc.stop_gradient(node) is a constant to derivatives",
    "size": "the sizes stand in .shape; graphc.size(dim) is one as a number",
    "dim": "the number of dimensions is .ndim",
    "view": "use node.reshape(...)",
    "permute": "use node.transpose(...) or graphc.permute_dims",
    "unsqueeze": "use graphc.expand_dims(node, axis) or node[..., None]",
    "expand": "use graphc.broadcast_to(node, shape)",
    "contiguous": "nodes have no layout, so leave it out",
    "clone": "nodes never change, so use the node itself",
    **{name: f"use node.astype({dtype!r})" for name, dtype in (("float", "float32"), ("double", "float64"))},
    **{name: f"use node.astype({dtype!r})" for name, dtype in (("int", "int32"), ("long", "int64"), ("bool", "bool"))},
    **{name: f"use graphc.{name}(node)" for name in ("exp", "log", "sqrt", "tanh", "sigmoid", "relu", "square")},
    **{name: f"use graphc.{name}(node, axis=...)" for name in ("softmax", "log_softmax", "logsumexp")},
    **{name: "use @ or graphc.matmul" for name in ("matmul", "mm", "bmm", "dot")},
    "pow": "use ** or graphc.pow",
    "assign": "nodes never change: updates={state: node} in graphc.compile, or state.set(array)",
}

_INPUT = "an array becomes a node by graphc.constant; what each call gives is a graphc.input, what is trained a graphc.parameter"
# Names that a module of another framework has, and `graphc` has not.
OF_MODULE = {
    **{name: f"it is called graphc.{here}" for name, here in OF_NUMPY.items()},
    **dict.fromkeys(("tensor", "Tensor", "array", "as_tensor", "from_numpy", "asarray"), _INPUT),
    **dict.fromkeys(("Variable", "placeholder"), _INPUT),
    **dict.fromkeys(
        ("no_grad", "enable_grad", "GradientTape"), "nothing is recorded: gradients are built by graphc.grad alone"
    ),
    **dict.fromkeys(("manual_seed", "set_seed"), "it is called graphc.seed"),
    **dict.fromkeys(("randn", "rand", "random"), "use graphc.normal(shape), graphc.uniform(shape) and their kin"),
    **dict.fromkeys(
        ("save", "load"),
        "weights are arrays: numpy.savez(path, **net.state_dict()), net.load_state_dict(numpy.load(path))",
    ),
    **dict.fromkeys(("dot", "mm", "bmm"), "use @ or graphc.matmul"),
    **dict.fromkeys(("jit", "function"), "use graphc.compile(inputs, outputs)"),
    **dict.fromkeys(("cuda", "device", "set_device"), _DEVICE),
    "value_and_grad": "compile both: graphc.compile([x], [loss, graphc.grad(loss, parameters)])",
    "detach": "it is called graphc.stop_gradient",
    **dict.fromkeys(("cat", "hstack", "vstack"), "it is called graphc.concat(arrays, axis)"),
    **dict.fromkeys(("ravel", "flatten"), "use graphc.reshape(node, (-1,))"),
    **dict.fromkeys(("mod", "fmod"), "it is called graphc.remainder"),
    **dict.fromkeys(("float", "half", "double"), "the dtypes are called graphc.float32 and graphc.float64"),
    **dict.fromkeys(("pi", "e", "inf", "nan"), "use that of math or numpy"),
    **dict.fromkeys(("Module", "Sequential", "Linear"), "it stands in graphc.nn"),
    **dict.fromkeys(("SGD", "Adam", "AdamW"), "it stands in graphc.optim"),
    "cast": "use node.astype(dtype)",
    **{f"reduce_{name}": f"it is called graphc.{name}" for name in ("sum", "mean", "max", "min", "prod", "logsumexp")},
    "set_flush_denormal": "use graphc.compile(..., flush_denormals=True)",
    **dict.fromkeys(("set_num_threads", "get_num_threads"), "use graphc.compile(..., threads=) or GRAPHC_THREADS"),
    "true_divide": "it is called graphc.divide",
    "clamp": "it is called graphc.clip",
    "newaxis": "None in an index makes an axis, as in node[:, None]",
    "diag": "graphc.diagonal(matrix) takes one out; graphc.eye(n) * vector makes a matrix of one",
    "view": "it is called graphc.reshape",
    "permute": "it is called graphc.permute_dims",
    "unsqueeze": "it is called graphc.expand_dims",
    "norm": "use graphc.sqrt(graphc.sum(x * x)), or graphc.global_norm",
    "bool": "the dtype is called graphc.bool_",
    **dict.fromkeys(("int", "long"), "the dtypes are called graphc.int32 and graphc.int64"),
}
# The same for `graphc.nn` and `graphc.optim`.
OF_NN = {
    **{name: f"it is called nn.{here}" for name, here in (("Dense", "Linear"), ("LazyLinear", "Linear"))},
    **{f"Conv{n}D": f"it is called nn.Conv{n}d" for n in (1, 2)},
    **{f"{kind}Pooling{n}D": f"it is called nn.{kind[:3]}Pool{n}d" for n in (1, 2) for kind in ("Max", "Average")},
    **dict.fromkeys(("BatchNorm", "BatchNormalization"), "they are called nn.BatchNorm1d and nn.BatchNorm2d"),
    "LayerNormalization": "it is called nn.LayerNorm",
    "Activation": "each is a module: nn.ReLU(), nn.Tanh() and so on",
    **dict.fromkeys(("functional", "F"), "functions stand in graphc and graphc.nn: graphc.relu, nn.cross_entropy"),
    "Parameter": "use graphc.parameter(array, name)",
    "Buffer": "use graphc.state(array, name)",
    **dict.fromkeys(("Layer", "Model"), "the base of modules is nn.Module"),
    "Input": "use graphc.input(name, shape)",
    "utils": "optimizers clip gradients (clip_norm=, clip_value=), as does graphc.clip_by_norm",
    **dict.fromkeys(("DataParallel", "parallel"), "a call uses all cores; graphc.compile(..., threads=) limits them"),
}
OF_OPTIM = {
    **dict.fromkeys(
        ("lr_scheduler", "schedules"),
        "the learning rate is a state: optimizer.learning_rate.set(number) changes it, in a callback or between calls",
    ),
    "RMSProp": "it is called optim.RMSprop",
    **dict.fromkeys(("LBFGS", "minimize"), "graphc.flat_function gives scipy.optimize.minimize what it wants"),
    **dict.fromkeys(
        ("Adadelta", "Adamax", "NAdam", "RAdam", "Nadam", "Lion", "Ftrl"),
        "there are SGD, Adam, AdamW, RMSprop and Adagrad; another is one class: see docs/extending.md",
    ),
    "clip_grad_norm_": "give the optimizer clip_norm=, or use graphc.clip_by_norm",
}

# What options are called, where a function has the one on the right, and what to do about those that none has.
RENAMED = {
    **dict.fromkeys(("dim", "dims", "axes"), "axis"),
    **{"keepdim": "keepdims", "ddof": "correction", "unbiased": "correction", "size": "shape", "steps": "num"},
    **{"lr": "learning_rate", "metrics": "outputs", "output": "outputs", "validation": "validation_data"},
    **{"low": "min", "high": "max", "a_min": "min", "a_max": "max", "in_dims": "in_axes", "out_dims": "out_axes"},
    **{"pad": "pad_width", "widths": "pad_width", "repetitions": "reps", "ndigits": "decimals", "diagonal": "k"},
    **{
        "N": "n_rows",
        "M": "n_cols",
        "n": "n_rows",
        "m": "n_cols",
        "tensors": "arrays",
        "v": "values",
        "depth": "num_classes",
    },
    **{"weight": "kernel", "filters": "kernel", "p": "probability", "probs": "probability", "loc": "mean"},
    **{"start_indices": "starts", "slice_sizes": "sizes", "sorted_sequence": "sorted"},
    **{"a": "x", "arr": "x", "x1": "x", "x2": "y", "b": "y"},
    **{"other": "y", "inputs": "x", "input": "x", "input_dim": "in_features", "output_dim": "out_features"},
}
OPTIONS = {
    "device": _DEVICE,
    "requires_grad": _TRAINED,
    "inplace": "nodes never change, so leave it out",
    "activation": "an activation is a module of its own: nn.Sequential(nn.Linear(3, 2), nn.ReLU()), or a call: graphc.relu(node)",
    "bias": "add it to the result, as in graphc.conv2d(x, kernel) + bias",
    "full_matrices": "the factors are always the reduced ones, so leave it out",
    "validation_split": "split the arrays, and give the rest as validation_data={x: array, y: array}",
    **dict.fromkeys(("optimizer", "loss"), "compile a step: updates=optimizer.minimize(loss)"),
}
