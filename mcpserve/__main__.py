"""``python -m mcpserve``."""

from mcpserve.cli import main

main()
