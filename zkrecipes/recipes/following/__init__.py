"""The parts with which recipes follow changing znodes, and give the newest state to their readers."""
