"""The data directory: znodes and sessions in SQLite."""
