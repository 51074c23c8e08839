"""Where bytes meet sockets. anyio begins here."""
