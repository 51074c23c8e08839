"""The requests that a server answers: one function for each opcode, and what follows from a change."""
