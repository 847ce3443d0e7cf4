"""CORS: closed, except for the origins that an administrator lists (MINIPACS_CORS_ORIGINS).

Their pages may send a token, never a user's cookie: `Access-Control-Allow-Credentials` is not sent
(WHATWG Fetch 3.2).
"""

from flask import Flask, Response, request

from api.context import context

ALLOWED_HEADERS = "Authorization, Content-Type, Accept, Range, If-None-Match, If-Range"
EXPOSED_HEADERS = "ETag, Content-Range, Accept-Ranges, Content-Disposition, Warning"
PREFLIGHT_MAX_AGE_S = "600"


def install(app: Flask) -> None:
    """Let the listed origins read every response; without any, nothing is installed."""
    if app.extensions["minipacs"].settings.allowed_origins:
        app.after_request(allow_listed_origin)


def allow_listed_origin(response: Response) -> Response:
    """Add the headers that let a listed origin read this response; `*` lists all."""
    allowed = context().settings.allowed_origins
    response.headers.add("Vary", "Origin")
    origin = request.headers.get("Origin", "")
    if not origin or ("*" not in allowed and origin not in allowed):
        return response

    response.headers["Access-Control-Allow-Origin"] = origin
    response.headers["Access-Control-Expose-Headers"] = EXPOSED_HEADERS
    if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
        response.headers["Access-Control-Allow-Methods"] = response.headers.get("Allow", "GET")
        response.headers["Access-Control-Allow-Headers"] = ALLOWED_HEADERS
        response.headers["Access-Control-Max-Age"] = PREFLIGHT_MAX_AGE_S
    return response
