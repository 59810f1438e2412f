"""Examples for the OpenAPI page of every service. `waymark.serving.api.openapi` puts them beside their routes.

episode   one real episode: states, responses, its evaluation and its result; data in `episode.json`
routes    which of it is shown beside which route
problems  an error of each status
"""

from waymark.serving.api.examples.episode import ARRIVED, FINISHED, PLAYED, SENT_OFF, START
from waymark.serving.api.examples.problems import PROBLEMS
from waymark.serving.api.examples.routes import OWN_ROUTES, PARAMETERS, ROUTES, Shown

__all__ = [
    "ARRIVED",
    "FINISHED",
    "OWN_ROUTES",
    "PARAMETERS",
    "PLAYED",
    "PROBLEMS",
    "ROUTES",
    "SENT_OFF",
    "START",
    "Shown",
]
