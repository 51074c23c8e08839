"""The client, its watches, transactions and pipelines."""
