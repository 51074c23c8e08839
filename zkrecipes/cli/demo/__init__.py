"""`zkrecipes demo`: workers share jobs under a lock, two fail on purpose, and checks verify the result.

`command.py` has the command, `runner.py` runs the demo, and `worker.py` runs in each worker's process. The
workers' reports go through `recorder.py` to the views (`plain_view.py`, `live_view.py`), and at the end to
the checks (`checks.py`, `election_checks.py`).
"""
