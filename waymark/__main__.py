"""`python -m waymark` is `waymark`."""

from waymark.cli.main import main

main()
