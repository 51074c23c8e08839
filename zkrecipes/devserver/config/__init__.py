"""The settings of a dev server that runs as a program, and how they are read from a zoo.cfg."""
