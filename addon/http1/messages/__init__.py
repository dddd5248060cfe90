"""HTTP messages: what a head may say, and what of it goes on to the other side."""
