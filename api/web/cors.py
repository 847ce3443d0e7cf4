"""Other sites' pages: closed, except for the origins an administrator lists (MINIPACS_CORS_ORIGINS).

Those may ask with a token, never with a user's cookie: `Access-Control-Allow-Credentials` is not sent
(WHATWG Fetch 3.2).
"""

from flask import Flask, Response, request

from api.context import context

HEADERS = "Authorization, Content-Type, Accept, Range, If-None-Match, If-Range"
EXPOSED = "ETag, Content-Range, Accept-Ranges, Content-Disposition, Warning"
KEPT_S = "600"


def install(app: Flask) -> None:
    """Let the listed origins read every answer."""
    app.after_request(allow)


def allow(response: Response) -> Response:
    """The headers for an origin that is listed; `*` lists all."""
    allowed = context().settings.allowed_origins
    if not allowed:
        return response
    response.headers.add("Vary", "Origin")
    origin = request.headers.get("Origin", "")
    if origin and ("*" in allowed or origin in allowed):
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Access-Control-Expose-Headers"] = EXPOSED
        if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
            response.headers["Access-Control-Allow-Methods"] = response.headers.get("Allow", "GET")
            response.headers["Access-Control-Allow-Headers"] = HEADERS
            response.headers["Access-Control-Max-Age"] = KEPT_S
    return response
