"""The parts of recipes that follow changing znodes and give the newest state to readers."""
