"""Browser login links and the endpoint that redeems them."""
