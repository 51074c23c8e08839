"""Coordination on the client's public names: one idea a file."""
