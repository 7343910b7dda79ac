"""The harness's own user class with one GET; benchmarks drive it through a real load worker."""

from locust import task

from harness.load.user import OpenHttpUser


class Visitor(OpenHttpUser):
    """Asks for one page, again and again."""

    @task
    def page(self) -> None:
        """GET the page."""
        self.client.get("/", name="page")
