"""`./zenzefi load`: load test of portal, JSON API and proxy with Locust, on a scratch platform."""
