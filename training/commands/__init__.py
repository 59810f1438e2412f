"""The commands of `python -m training`, a module a group; `shared` holds what several of them need."""
