"""`python -m services.env_runner` serves the app; `python -m services.env_runner worker` plays episodes.

Exit codes: 0 stopped as asked, 2 it cannot run as it is set up (one line on stderr says why), 3 its port is in use.
"""

from __future__ import annotations
