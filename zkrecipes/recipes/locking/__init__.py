"""What locks and elections are made of: a queue, a hold, and the block that runs under it."""
