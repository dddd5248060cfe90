"""`./zenzefi load`: Locust plays buyers in the portal and clients of the proxy, on a platform of its own."""
