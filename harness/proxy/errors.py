"""What the Toxiproxy API answers when it refuses: texts and status codes of server 2.12."""

from __future__ import annotations


class ApiError(Exception):
    """An answer other than success: HTTP `status` and the text for `{"error": ...}`."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.message = message
        self.status = status


def bad_body(reason: str) -> ApiError:
    """400: the body is not what this call takes."""
    return ApiError(f"bad request body: {reason}", 400)


def missing_field(field: str) -> ApiError:
    """400: a field that has no default is empty or absent."""
    return ApiError(f"missing required field: {field}", 400)


def proxy_not_found() -> ApiError:
    """404 for a proxy."""
    return ApiError("proxy not found", 404)


def toxic_not_found() -> ApiError:
    """404 for a toxic."""
    return ApiError("toxic not found", 404)


def proxy_exists() -> ApiError:
    """409 for a proxy."""
    return ApiError("proxy already exists", 409)


def toxic_exists() -> ApiError:
    """409 for a toxic; names are unique over both streams of a proxy."""
    return ApiError("toxic already exists", 409)


def invalid_stream() -> ApiError:
    """400: neither `upstream` nor `downstream`."""
    return ApiError("stream was invalid, can be either upstream or downstream", 400)


def invalid_type() -> ApiError:
    """400: no toxic of that type is registered."""
    return ApiError("invalid toxic type", 400)
