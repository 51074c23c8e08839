"""The inside of `SimulatedEnsemble`: replicas that agree on one history, and the wires between them."""
