"""The public APIs: native routes, OpenAI's completions, the Model Context Protocol."""
