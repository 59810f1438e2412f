"""The generated pages of `docs/`: settings, HTTP API, command line, recipes, and the list of decisions.

    python -m tools.reference            write the pages
    python -m tools.reference --check    say which pages are out of date; exit code 1 if any is

Each page is written from the code that it describes: settings classes, OpenAPI documents, Typer
commands, recipe fields.
"""
