"""Commands that other packages bring: each is imported when it is called, or for its line of help.

A command plugin that imports much, or is broken, costs the other commands nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperGroup

from harmobench.errors import PluginError
from harmobench.registry import Plugin, plugins


class Commands(TyperGroup):
    """The command line's own commands, and those of group harmobench.commands by name alone."""

    def __init__(self, **attrs: Any) -> None:
        super().__init__(**attrs)
        own: dict[str, Any] = dict(self.commands)
        self._waiting = {n: p for n, p in plugins("commands").items() if n not in own}
        # names without a command yet: for lists of commands, and for what is nearest to a typo
        self.commands = {**own, **dict.fromkeys(self._waiting)}  # type: ignore[dict-item]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command; one of a plugin is imported now."""
        plugin = self._waiting.pop(cmd_name, None)
        if plugin is not None:
            self.commands[cmd_name] = made(plugin)
        return super().get_command(ctx, cmd_name)


def made(plugin: Plugin) -> Any:
    """Import a plugin's function and make it a command."""
    try:
        function = plugin.load()
    except PluginError as error:
        function = _broken(error)
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command(plugin.name)(function)
    return typer.main.get_command(app)


def _broken(error: Exception) -> Callable[[], None]:
    """Make a command that says why it cannot be used: the others must not suffer."""

    def command() -> None:
        raise error

    command.__doc__ = "(broken: call it to read why)"
    return command
