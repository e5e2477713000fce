"""The loop IR: scalar expressions, loops, kernels. It knows nothing of graphs."""
