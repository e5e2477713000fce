"""Emission: kernels as readable source, then as LLVM IR, object code, and addresses; and the cache on disk."""
