"""Services of the gateway: what the proxy workers share through the database."""
