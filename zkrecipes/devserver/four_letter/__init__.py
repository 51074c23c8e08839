"""The answers to four-letter words."""
