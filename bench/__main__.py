"""The command line of the benchmark."""

import argparse
import shutil

from bench import against, compare, flames, lab, others, page, peers
from bench.lab import Lab

OTHERS = "others"
NAMES = ["mcpserve", *(peer.name for peer in peers.servers(0, "")), OTHERS]


def main() -> None:
    """Measure what the arguments ask for."""
    options = parse()
    for program in ("wrk", "taskset", "node"):
        if not shutil.which(program):
            raise SystemExit(f"bench: {program} is not here: install it with the system's packages")
    with lab.opened() as opened:
        if options.profile:
            flames.profile(opened, options.against, short=options.short)
        elif options.against:
            rounds = options.rounds or (3 if options.short else 10)
            against.compare(opened, options.against, short=options.short, rounds=rounds)
        else:
            whole(opened, options)


def whole(opened: Lab, options: argparse.Namespace) -> None:
    """Compare with peers and measure the rest, as far as asked for; show and keep all of it."""
    names = options.only or NAMES
    rounds = options.rounds or (1 if options.short else 5)
    runs, processes = compare.compare(opened, names, short=options.short, rounds=rounds)
    more = others.measure(opened, short=options.short) if OTHERS in names else {}
    results = page.results(opened, runs, processes, more)
    page.write(results, short=options.short or names != NAMES)


def names_of(text: str) -> list[str]:
    """Read a list of names."""
    names = text.split(",")
    if unknown := ", ".join(name for name in names if name not in NAMES):
        raise argparse.ArgumentTypeError(f"{unknown} is none of {', '.join(NAMES)}")
    return names


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="./dev bench",
        description="Compare mcpserve with its peers, and write docs/explanation/performance.md.",
        epilog="Results are in bench/results. Only a whole run changes the page.",
    )
    parser.add_argument("--short", action="store_true", help="in a minute, and less exact")
    parser.add_argument("--rounds", type=int, help="how often everything is measured")
    parser.add_argument(
        "--only", metavar="NAME,…", type=names_of, help=f"some of {', '.join(NAMES)}"
    )
    parser.add_argument(
        "--against",
        metavar="REV",
        help="compare with another mcpserve instead: a commit, or the folder of a tree",
    )
    parser.add_argument(
        "--profile",
        action="store_true",
        help="show instead where the time goes: ours, or with --against that one's",
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
