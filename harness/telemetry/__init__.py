"""Reads gauges off the running stack, once a second or oftener."""
