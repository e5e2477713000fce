"""Scheduling: from a graph to a plan of kernels and the buffers they use."""
