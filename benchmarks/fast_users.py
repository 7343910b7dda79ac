"""The same GET with Locust's FastHttpUser: without think time, or at PER_USER requests per second and user."""

import os

from locust import FastHttpUser, constant_throughput, task


class Visitor(FastHttpUser):
    """Asks for one page, again and again."""

    if "PER_USER" in os.environ:
        wait_time = constant_throughput(float(os.environ["PER_USER"]))

    @task
    def page(self) -> None:
        """GET the page."""
        self.client.get("/", name="page")
