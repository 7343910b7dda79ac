"""Nothing but orders: whatever is lost is an order that a customer has to place again, or not at all."""

import random
import uuid

from locust import task

from harness.load.user import OpenHttpUser

PRODUCTS = 100


class Customer(OpenHttpUser):
    @task
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
