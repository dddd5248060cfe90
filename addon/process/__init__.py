"""One worker process: sockets, TLS files, worker slots."""
