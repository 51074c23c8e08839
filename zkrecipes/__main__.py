"""`python -m zkrecipes` is the command `zkrecipes`."""

from __future__ import annotations

from zkrecipes.cli import main

if __name__ == "__main__":
    main()
