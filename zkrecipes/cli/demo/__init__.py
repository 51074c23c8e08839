"""`zkrecipes demo`: workers share jobs under a lock, two of them fail on purpose, and it checks its claims.

`command.py` is the command; `runner.py` runs it all; `worker.py` is what runs in each worker's process. What
the workers report goes through `recorder.py` into the views (`plain_view.py`, `live_view.py`), and at the end
before the judge (`checks.py`).
"""
