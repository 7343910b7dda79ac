"""Load workers on other hosts: Locust's master/worker protocol, with a transport of our own that loses nothing."""
