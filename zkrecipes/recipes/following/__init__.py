"""How recipes follow znodes that change, and hand the newest state to their readers."""
