"""The arithmetic of the benchmark, and the page that follows from its results."""

import json
import re

import pytest

from bench import against, bar, flames, load, page, peers, plot, report, stats, wire
from bench.bar import Promise


def run(server, number, *, rate=100.0, cpu=1000.0, disturbed=False, **more):
    about = {"server": server, "round": number, "era": "handshake", "connections": 16}
    return about | {"rate": rate, "cpu": cpu, "p99": 9.0, "disturbed": disturbed} | more


def verdict(runs, processes=(), *, metric="rate", against="typescript-v1"):
    [found] = [
        verdict
        for verdict in bar.judge(runs, list(processes))
        if (verdict.promise.metric, verdict.promise.against) == (metric, against)
    ]
    return found


def test_a_ratio_is_taken_between_neighbours_and_only_then_the_median():
    # The ratio of the medians would be 1.0, and of the sums 0.75.
    assert stats.paired([2, 10, 30], [1, 20, 10]) == stats.Ratio(2, 0.5, 3, 3)


def test_measurements_without_a_neighbour_are_refused():
    with pytest.raises(ValueError, match="shorter"):
        stats.paired([1, 2], [1])


def test_half_of_the_pairs_lie_between_the_quartiles():
    assert stats.quartiles([1, 2, 3, 4, 5], [1] * 5) == (2, 4)
    assert stats.quartiles([3], [2]) == (1.5, 1.5)


def test_runs_are_paired_by_round_whatever_their_order():
    runs = [run("mcpserve", 0, rate=300), run("mcpserve", 1, rate=20)]
    runs += [run("typescript-v1", 1, rate=10), run("typescript-v1", 0, rate=100)]
    assert verdict(runs).ratio == stats.Ratio(2.5, 2, 3, 2)


def test_a_round_that_one_of_them_missed_does_not_count():
    runs = [run("mcpserve", 0), run("mcpserve", 1), run("typescript-v1", 1)]
    assert verdict(runs).measured == 1


def test_disturbed_pairs_do_not_count_while_there_are_others():
    runs = [run("mcpserve", 0, rate=900, disturbed=True), run("mcpserve", 1, rate=200)]
    runs += [run("typescript-v1", 0), run("typescript-v1", 1)]
    found = verdict(runs)
    assert (found.ratio.median, found.measured, found.undisturbed) == (2, 2, 1)
    runs[1]["disturbed"] = True
    assert (verdict(runs).ratio.pairs, verdict(runs).undisturbed) == (2, 0)


def test_a_request_that_costs_half_counts_as_twice_as_fast_by_cpu():
    assert verdict([run("mcpserve", 0, cpu=500), run("typescript-v1", 0)]).effort == 2


def test_eras_and_connections_are_never_mixed():
    runs = [run("mcpserve", 0), run("typescript-v1", 0, era="modern")]
    runs.append(run("typescript-v1", 0, connections=64))
    assert bar.judge(runs, []) == []


def test_memory_is_judged_after_the_load_and_start_by_seconds():
    def process(server, rss, start):
        memory = {"rss": rss, "pss": 1}
        return {"server": server, "round": 0, "start": start, "loaded": memory}

    processes = [process("mcpserve", 50, 1.1), process("typescript-v1", 100, 9)]
    processes.append(process("python-sdk", 1, 1.0))
    assert verdict([], processes, metric="loaded").kept
    started = verdict([], processes, metric="start", against="python-sdk")
    assert (started.ratio.median, started.kept) == (1.1, True)


@pytest.mark.parametrize(
    ("promise", "ratio", "kept"),
    [
        (Promise("rate", "x", at_least=3.0), 3.0, True),
        (Promise("rate", "x", at_least=3.0), 2.99, False),
        (Promise("p99", "x", at_most=0.5), 0.5, True),
        (Promise("p99", "x", at_most=0.5), 0.51, False),
    ],
)
def test_a_promise_is_kept_up_to_its_bound(promise, ratio, kept):
    assert promise.is_kept(ratio) is kept


def test_every_promise_is_of_a_peer_that_serves_the_era():
    eras = {peer.name: peer.eras for peer in peers.servers(0, "")}
    for promise in bar.PROMISES:
        assert promise.era is None or promise.era in eras[promise.against]


def test_what_the_kernel_does_for_many_requests_disturbs_nothing():
    def seen(rate, other):
        return load.Load(rate=rate, cpu=1, p50=1, p99=1, database=0, other=other)

    assert not seen(5000, 0.25).disturbed
    assert seen(100, 0.25).disturbed


def test_two_trees_take_turns_so_that_drift_meets_both():
    places = {
        name: [at for at, turn in enumerate(against.TURNS) if turn == name]
        for name in ("before", "after")
    }
    assert sum(places["before"]) == sum(places["after"])
    assert all(
        set(pair) == set(places)
        for pair in zip(against.TURNS[::2], against.TURNS[1::2], strict=True)
    )


def test_time_is_counted_for_a_function_once_and_for_what_it_calls():
    top = "run (a.py);BaseEventLoop._run_once (e.py);Handle._run (e.py)"
    shown = flames.hottest(
        f"{top};f (x/tree/m.py);f (x/tree/m.py) 3\n{top};f (x/tree/m.py);g (h.py) 1\nwait (t.py) 9"
    )
    assert shown.startswith("4 samples: m.py 75%, h.py 25%")
    assert re.search(r"75\.0%  f \(m\.py\) +100\.0%  Handle", shown)
    assert "100.0%  f (m.py)" in shown


def test_a_request_says_how_long_its_body_is():
    head, _, body = wire.mcp_request("modern", "token", port=1).partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    assert json.loads(body)["params"]["_meta"] == wire.META


def test_the_page_and_its_figure_follow_from_the_results_that_are_kept():
    shown = page.PAGE.read_text()
    assert shown.count(page.BEGIN) == shown.count(page.END) == 1
    if not page.COMMITTED.exists():
        assert f"{page.BEGIN}\n{page.END}" in shown
        return
    results = json.loads(page.COMMITTED.read_text())
    assert page.filled(shown, results) == shown, "run ./dev bench"
    assert page.FIGURE.read_text() == plot.plot(results["runs"], report.LABELS)
