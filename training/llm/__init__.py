"""The LLM annotator: a model at an OpenAI-compatible chat endpoint names the sub-goals of oracle paths.

prompts     what the model is told and shown, and how its answer is read
alignment   which of the path's actions an answer covers, by edit distance
chat        an endpoint (waymark.clients.chat) whose answers are kept on disk, which makes a rerun free
annotator   all paths: the second example of each task type, repair calls, failures, the manifest
"""
