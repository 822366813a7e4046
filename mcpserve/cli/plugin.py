"""``plugin``: its commands, from where they are."""

from mcpserve.cli import installing, plugin_check, scaffolding, tools

plugin_group = tools.plugin_group
for command in (
    scaffolding.plugin_new,
    plugin_check.plugin_check,
    installing.plugin_install,
    installing.plugin_remove,
):
    plugin_group.add_command(command)
