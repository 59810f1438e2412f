"""What holds over a long time: every request is answered once, no caller is disconnected without an answer, and
overload changes neither goodput nor memory.

    python -m benchmarks.soak answers  [--requests 100000] [--json FILE]
    python -m benchmarks.soak disconnects [--seconds 60] [--callers 200] [--json FILE]
    python -m benchmarks.soak overload [--minutes 10] [--peak-seconds 20] [--threads N] [--json FILE]

Each ends with one line that says whether it holds, and with exit code 0 or 1. `benchmarks.soak.answers`,
`benchmarks.soak.disconnects` and `benchmarks.soak.overload` say what they measure.
"""
