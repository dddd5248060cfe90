"""Entry point and gunicorn settings of the container image."""
