"""The toxics of server 2.12, one file each; importing this package registers them."""

from harness.proxy.toxics import (  # noqa: F401  # imported for their registration
    bandwidth,
    latency,
    limit_data,
    noop,
    reset_peer,
    slicer,
    slow_close,
    timeout,
)
from harness.proxy.toxics.base import Toxic, registered, toxic

__all__ = ["Toxic", "registered", "toxic"]
