"""How commands and groups of them read their arguments and tell of themselves."""

import textwrap

import click


class Command(click.Command):
    """A command whose help ends with examples, written as they are typed."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Refuse what is not text: Python hides the bytes in halves of surrogate pairs."""
        if any("\ud800" <= character <= "\udfff" for character in "".join(args)):
            raise click.UsageError("an argument is not UTF-8 text", ctx)
        return super().parse_args(ctx, args)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples."""
        if self.epilog:
            formatter.write(f"\nExamples:\n{textwrap.indent(self.epilog, '  ')}\n")


class Group(Command, click.Group):
    """A group of such commands."""

    command_class = Command
    group_class = type
