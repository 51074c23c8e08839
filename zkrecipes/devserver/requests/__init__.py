"""The requests that a server answers: one function for each opcode, and the effects of a change."""
