"""The payment service: charges each key once, however often it is asked to."""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict

from flask import Flask, jsonify, request
from flask.typing import ResponseReturnValue

from shop.metrics import Metrics
from shop.service import Service
from shop.settings import Settings

_REMEMBERED = 1_000_000


class Charges:
    """What was charged, by key; the oldest are forgotten beyond a million."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._amounts: OrderedDict[str, int] = OrderedDict()

    def charge(self, key: str, amount_cents: int) -> int:
        """The amount that was charged under this key: now, or the first time."""
        with self._lock:
            if len(self._amounts) >= _REMEMBERED:
                self._amounts.popitem(last=False)
            return self._amounts.setdefault(key, amount_cents)


def create_app() -> Flask:
    """The WSGI application; its settings come from the environment."""
    settings = Settings.from_environment(os.environ)
    charges = Charges()
    app = Flask(__name__)
    Service(app, Metrics())

    @app.post("/charge")
    def charge() -> ResponseReturnValue:
        time.sleep(settings.payments_seconds)
        key = request.headers.get("Idempotency-Key", "")
        body = request.get_json()
        amount = body.get("amount_cents") if isinstance(body, dict) else None
        if not key or not isinstance(amount, int) or amount <= 0:
            return jsonify(error="an Idempotency-Key header and a positive amount_cents are needed"), 400
        return jsonify(charged_cents=charges.charge(key, amount))

    return app
