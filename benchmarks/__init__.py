"""zkrecipes compared with its peers: the same workloads, against the same real server, in one run.

`make bench` runs everything; `make bench ARGS="--workloads pipelined_get --rounds 5"` runs a part. Each
measurement is a separate process. In each round every subject runs each workload once, and the order rotates,
so that noise of the machine affects all of them. The tables have the medians over the rounds.
"""
