"""The implementation of `SimulatedEnsemble`: replicas that agree on one history, and their network."""
