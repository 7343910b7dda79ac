"""Another make of shop: asynchronous, one process, no threads to run out of, Redis as its only store."""

import os

from fastapi import FastAPI, HTTPException
from prometheus_client import Counter, make_asgi_app
from redis.asyncio import Redis
from redis.exceptions import RedisError

TIMEOUT_S = float(os.environ["REDIS_TIMEOUT"])

app = FastAPI()
app.mount("/metrics", make_asgi_app())
asked = Counter("requests", "Requests.")
redis = Redis.from_url(os.environ["REDIS_URL"], socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S)


@app.get("/up")
async def up() -> dict[str, bool]:
    return {"up": True}


@app.get("/hello/{name}")
async def hello(name: str) -> dict[str, str]:
    asked.inc()
    return {"hello": name}


@app.post("/visits/{name}")
async def visits(name: str) -> dict[str, int]:
    asked.inc()
    try:
        return {"visits": await redis.incr(f"visits:{name}")}
    except RedisError as error:
        raise HTTPException(503, "the guest book is closed") from error
