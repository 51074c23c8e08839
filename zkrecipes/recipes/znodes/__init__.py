"""Creates, finds and deletes the znodes of recipes."""
