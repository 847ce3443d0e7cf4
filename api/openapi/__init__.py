"""The OpenAPI document and the schemas of answers."""
