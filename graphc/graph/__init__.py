"""The graph IR: typed nodes, graphs, walks over them, their printed form and their verifier. It knows no op."""
