"""How recipes create, find and delete their own znodes."""
