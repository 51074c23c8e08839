"""zkrecipes beside its peers: the same works, against the same real server, in one interleaved run.

`make bench` runs everything; `make bench ARGS="--works pipe_get --rounds 5"` a part. Each measurement is a
process of its own. In each round every subject does each work once, and the order rotates, so that a noisy
spell of the machine falls on all of them; the tables hold medians over the rounds.
"""
