"""Customers who come once: each opens a connection, asks for one thing and hangs up, two checkouts to one look.

The service draws a replica for every connection. Whoever stays connected stays with a replica that works; these find
the others too.
"""

import random
import uuid

from locust import task

from harness.load.user import OpenHttpUser

PRODUCTS = 100


class Newcomer(OpenHttpUser):
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
        self.client.close()

    @task(1)
    def catalog(self):
        self.client.get("/catalog", name="catalog")
        self.client.close()
