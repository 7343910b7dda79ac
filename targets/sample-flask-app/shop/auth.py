"""The authentication service: who does this token belong to?"""

from __future__ import annotations

import os
import time

from flask import Flask, jsonify, request
from flask.typing import ResponseReturnValue

from shop.metrics import Metrics
from shop.service import Service
from shop.settings import Settings

_PREFIX = "Bearer token-"


def create_app() -> Flask:
    """The WSGI application; its settings come from the environment."""
    settings = Settings.from_environment(os.environ)
    app = Flask(__name__)
    Service(app, Metrics())

    @app.get("/verify")
    def verify() -> ResponseReturnValue:
        time.sleep(settings.auth_seconds)
        header = request.headers.get("Authorization", "")
        if not header.startswith(_PREFIX):
            return jsonify(error="no valid token"), 401
        return jsonify(user=header.removeprefix(_PREFIX))

    return app
