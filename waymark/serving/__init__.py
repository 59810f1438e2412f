"""The model services: `create_app` builds the controller or the executor over loaded models.

    settings -> models (verified, loaded) -> create_app -> http_server.serve

The env-runner uses `middleware`, `exit_codes` and `http_server` too.
"""
