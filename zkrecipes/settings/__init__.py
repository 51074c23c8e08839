"""Connection settings from files and from the environment, and `connect_from`, which connects with them."""
