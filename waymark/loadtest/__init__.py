"""`waymark loadtest`: how much a service answers, how fast, and what it does when asked for more.

    states   what is asked: states out of real play, recorded or those that ship
    target   who is asked: one of our services or any OpenAI-compatible one, and what a request looks like
    drive    how it is asked: at a rate (open loop) or by so many callers (closed loop)
    results  what came of it: percentiles, rejects, the peak; as JSON, as tables, two runs side by side
    plot     the saturation curve
    command  the command line

It measures from outside, over HTTP, and knows nothing of what happens inside a service; `/metrics` tells that.
"""
