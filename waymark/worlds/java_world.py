"""What worlds share whose simulator runs on Java."""

from __future__ import annotations

from waymark.worlds.base import World


class JavaWorld(World):
    """A world that cannot be played without Java."""

    def check_runnable(self) -> None:
        """Raise JavaMissing where there is no Java."""
        from waymark.worlds.java_process import find_java

        find_java()
