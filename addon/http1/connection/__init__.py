"""One client connection: its exchanges, its sockets, and how it ends."""
