"""How hypothesis runs: no deadline for an example, as the machine may be busy and code is compiled in it."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("zkrecipes", deadline=None)
settings.load_profile("zkrecipes")
