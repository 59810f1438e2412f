"""The env-runner plays evaluations: `app` accepts and reports them, `worker` plays episodes, `queue` connects the
two."""
