"""Open-model load on top of Locust, in processes of its own."""
