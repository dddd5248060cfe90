"""HTTP messages: strict parsing, body framing, and rewriting of headers in both directions."""
