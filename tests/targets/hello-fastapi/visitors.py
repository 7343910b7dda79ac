"""Who says hello, and who signs the guest book."""

from locust import FastHttpUser, task


class Visitor(FastHttpUser):
    @task
    def hello(self) -> None:
        self.client.get("/hello/ann", name="hello")

    @task
    def visits(self) -> None:
        self.client.post("/visits/ann", name="visits")
