"""The parts of locks and elections: a queue, a hold, and the block that runs under it."""
