"""Every op whole: its type rule, meaning, derivatives, batching and lowering in one class, its builder beside it."""
