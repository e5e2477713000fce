"""Every error that graphc raises on purpose; each is also the builtin that a caller would catch."""


class GraphcError(Exception):
    """The family of graphc's errors."""


class ShapeError(GraphcError, ValueError):
    """A shape, rank, axis or dimension is not what an operation needs."""


class DTypeError(GraphcError, TypeError):
    """A dtype is not what an operation or a call needs."""


class GraphError(GraphcError, ValueError):
    """A graph is built, differentiated or compiled in a way that has no meaning."""


class NodeUseError(GraphcError, TypeError):
    """A node is used as if it were a number or an array."""


class MissingAttributeError(GraphcError, AttributeError):
    """An attribute is asked for that there is not, though other frameworks may have it."""


class AssignmentError(GraphcError, AttributeError):
    """Something is assigned to an attribute that is fixed."""


class OptionError(GraphcError, TypeError):
    """A function is given arguments that it does not take."""


class CallError(GraphcError, ValueError):
    """The arguments of a call do not fit what was compiled."""


class MissingInputError(GraphcError, TypeError):
    """An input of a call is missing, or one is given that was never declared."""


class IndexOutOfRangeError(GraphcError, IndexError):
    """An index read from data lies outside the axis that it indexes."""


class PlanMemoryError(GraphcError, MemoryError):
    """The plan needs more memory than there is."""


class CompileError(GraphcError, RuntimeError):
    """A kernel could not be made or must not be loaded."""


class MissingPackageError(GraphcError, ImportError):
    """A package that an optional part needs is not installed."""


class VerificationError(GraphcError, AssertionError):
    """A pass or the scheduler left an invalid representation: a bug in graphc."""


class DataError(GraphcError, ValueError):
    """A file of data is not what its format says."""


class GraphcWarning(UserWarning):
    """Something a user may want to change, though the result is right."""
