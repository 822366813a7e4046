"""The benchmark: mcpserve and its peers under the same load. ``./dev bench --help`` tells more.

Each server runs on one core, the load and PostgreSQL on another. What is compared is measured side
by side, in turns, and only ratios of neighbours are kept: absolute numbers vary with the machine.
"""
