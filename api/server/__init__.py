"""The HTTP server: gunicorn's threaded worker, whose threads never wait for a slow client while others need them."""
