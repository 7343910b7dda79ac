"""Launch night: two checkouts to a look at the catalogue, which needs no database; `--tags checkout` omits that."""

import random
import uuid

from locust import tag, task

from harness.load.user import OpenHttpUser

PRODUCTS = 100


class Buyer(OpenHttpUser):
    @tag("checkout")
    @task(2)
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

    @task(1)
    def catalog(self):
        self.client.get("/catalog", name="catalog")
