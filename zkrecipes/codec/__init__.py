"""Bytes to records and back: jute, ZooKeeper's serialization, in pure Python. No state, no clock, no I/O."""
