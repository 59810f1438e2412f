"""The model services: `create_app` builds the controller or the executor over loaded models.

    settings -> models (verified, loaded) -> create_app -> run.serve

`problems`, `auth` and `run` serve the env-runner as well.
"""
