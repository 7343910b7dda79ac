"""Everyday traffic of the sample shop: much looking, some buying, every dependency in use.

At 120/s there are 20 checkouts a second, 16 % of what the database pools can carry.
"""

import random
import uuid

from locust import task

from harness.load.user import OpenHttpUser

PRODUCTS = 100


class Shopper(OpenHttpUser):
    def __init__(self, environment):
        super().__init__(environment)
        name = uuid.uuid4().hex
        self.session_header = {"X-Session": name}
        self.token = {"Authorization": f"Bearer token-{name}"}

    @task(1)
    def ping(self):
        self.client.get("/ping", name="ping")

    @task(6)
    def catalog(self):
        self.client.get("/catalog", name="catalog")

    @task(3)
    def session(self):
        self.client.get("/session", name="session", headers=self.session_header)

    @task(6)
    def product(self):
        self.client.get(f"/product/{random.randint(1, PRODUCTS)}", name="product")

    @task(2)
    def order(self):
        self.client.get(f"/orders/seed-{random.randint(1, PRODUCTS)}", name="order")

    @task(2)
    def account(self):
        self.client.get("/account", name="account", headers=self.token)

    @task(4)
    def checkout(self):
        # A retry sends the same key again: it finds the order of the first attempt, if that one got through.
        key = uuid.uuid4().hex
        response = self.client.post(
            "/checkout",
            name="checkout",
            json={"product": random.randint(1, PRODUCTS), "quantity": 1},
            headers={"Idempotency-Key": key},
        )
        if response.ok and response.json()["key"] != key:
            response.fail("the answer is about another order")
