"""What a user calls: the client, its watches, transactions and pipelines."""
