"""Byte streams over TCP and TLS, on trio and on asyncio."""
