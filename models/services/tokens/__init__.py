"""Access tokens: purchase, pause, extension, renewal, rotation, revocation."""
