"""The env-runner: plays evaluations. `app` takes and reports them, `worker` plays episodes, `jobs` stands between."""
