"""`waymark loadtest`: how much a service answers, how fast, and what it does when asked for more.

    sample_states     what is asked: states out of real play, recorded or those that ship
    target            who is asked: one of our services or any OpenAI-compatible one
    request_bodies    what each request looks like
    send_requests     how one is sent
    load_loops        how it is asked: at a rate (open loop) or by so many callers (closed loop)
    load_report       what came of it: percentiles, rejects, the peak; as JSON, two runs side by side
    load_tables       the same as tables
    load_stages       a whole test: its stages, and what the first stage of a ramp says of the others
    saturation_curve  the saturation curve
    command           the command line

It measures from outside, over HTTP, and knows nothing of what happens inside a service; `/metrics` tells that.
"""
