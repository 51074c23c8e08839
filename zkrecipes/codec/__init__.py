"""Converts bytes to records and back: jute, ZooKeeper's serialization, in pure Python.

It has no state, no clock and no I/O.
"""
