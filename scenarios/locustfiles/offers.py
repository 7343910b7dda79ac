"""The day of the offers: two products that many look at, as many looks at the catalogue, and some checkouts."""

import random
import uuid

from locust import task

from harness.load.user import OpenHttpUser

OFFERS = (7, 42)


class Hunter(OpenHttpUser):
    @task(2)
    def product(self):
        self.client.get(f"/product/{random.choice(OFFERS)}", name="product")

    @task(2)
    def catalog(self):
        self.client.get("/catalog", name="catalog")

    @task(1)
    def checkout(self):
        # A retry sends the same key again: it finds the order of the first attempt, if that one got through.
        key = uuid.uuid4().hex
        response = self.client.post(
            "/checkout",
            name="checkout",
            json={"product": random.choice(OFFERS), "quantity": 1},
            headers={"Idempotency-Key": key},
        )
        if response.ok and response.json()["key"] != key:
            response.fail("the answer is about another order")
