"""gunicorn's settings for the shop, auth and payments; one worker process each, so that every limit is in one place."""

import math
import os
import resource
import signal
from functools import partial
from pathlib import Path

from shop.management import LOOPBACK
from shop.memory import Recycler
from shop.service import Service
from shop.settings import Settings

_settings = Settings.from_environment(os.environ)
_hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
_descriptors = min(_hard_limit, 20_000) if _hard_limit != resource.RLIM_INFINITY else 20_000

workers = 1
worker_class = "shop.threads.CountedWorker"
threads = _settings.threads
# What waits shall wait where it is counted, not in the kernel's backlog; some descriptors are left for everything else.
worker_connections = max(1000, _descriptors - 500)
# Longer than any client keeps an idle connection, so that none is closed under a request on its way.
keepalive = 120 if _settings.keep_alive else 0
# gunicorn counts from SIGTERM on, the shop from when it accepts no more.
graceful_timeout = math.ceil(_settings.shutdown_delay_seconds) + round(_settings.graceful_timeout_seconds)
# A worker that is paused on purpose must not be killed by its master for it.
timeout = 0
# The heartbeat file: memory only, and no folder of ours needs to be writable.
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None
control_socket_disable = True
accesslog = None
errorlog = "-"
loglevel = "warning"


def on_starting(_server):
    """Make room for those connections."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (_descriptors, _hard_limit))


def post_worker_init(worker):
    """Open the management port in the worker process, and tell the worker how and when to leave."""
    service = Service.of(worker.wsgi)
    service.attach(worker.tpool, lambda: worker.leaving)
    worker.shutdown_delay_s = _settings.shutdown_delay_seconds
    port = os.environ.get("MANAGEMENT_PORT")
    if port:
        service.management(int(port), os.environ.get("MANAGEMENT_HOST", LOOPBACK)).start()
    if _settings.recycle_at:
        Recycler(_settings.recycle_at, partial(os.kill, worker.pid, signal.SIGTERM)).start()
