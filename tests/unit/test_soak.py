"""How a soak is judged, and the pages that follow from what was measured."""

import re

import pytest

from bench import sizing, soak, soak_load
from bench import soak_verdict as verdict

MINUTE = 60.0


def over_time(values, *, step=10.0):
    """Return points, one every so many seconds."""
    return [(step * number, float(value)) for number, value in enumerate(values)]


def test_the_slope_is_that_of_most_pairs_whatever_a_peak_does():
    line = over_time(range(100, 130), step=1)
    assert verdict.slope(line) == 1
    line[7] = (7, 100_000.0)
    assert verdict.slope(line) == pytest.approx(1, abs=0.01)


def test_of_one_moment_there_is_no_slope():
    with pytest.raises(ValueError, match="two points"):
        verdict.slope([(1.0, 2.0), (1.0, 3.0)])


@pytest.mark.parametrize(
    ("growth", "flat"), [(0.0, True), (0.019, True), (0.021, False), (-0.5, True)]
)
def test_memory_may_grow_by_less_than_two_percent_in_ten_minutes(growth, flat):
    # Over twenty minutes, by so much of what it is at three quarters of them.
    points = over_time([100 * (1 + growth * (n / 60 - 1.5)) for n in range(121)])
    assert verdict.memory(points).flat is flat


def test_what_memory_did_in_the_first_half_does_not_count():
    points = over_time([50 + n for n in range(60)] + [110] * 61)
    assert verdict.memory(points).flat


def test_one_peak_in_the_second_half_is_no_growth():
    points = over_time([100.0] * 121)
    points[-1] = (points[-1][0], 180.0)
    assert verdict.memory(points).flat


@pytest.mark.parametrize(("after", "flat"), [(9, True), (10, False), (8, False)])
def test_what_is_counted_without_load_has_to_be_as_before(after, flat):
    assert verdict.same("descriptors", 9, after).flat is flat


@pytest.mark.parametrize(("after", "flat"), [(4, True), (7, True), (8, False)])
def test_two_threads_may_be_there_that_were_not_needed_before(after, flat):
    assert verdict.threads(5, after).flat is flat


def spread(first, last, *, number=600, seconds=3 * MINUTE):
    """Return requests of three thirds, of which one in fifty is ten times as slow."""
    points = []
    for n in range(3 * number):
        took = first if n < 2 * number else last
        points.append((seconds * n / (3 * number), took * (10 if n % 50 == 0 else 1)))
    return points


@pytest.mark.parametrize(("last", "flat"), [(0.010, True), (0.012, True), (0.013, False)])
def test_the_slowest_of_the_last_third_are_at_most_a_quarter_slower(last, flat):
    seen = verdict.latency("call", spread(0.010, last), 3 * MINUTE)
    assert (seen.what, seen.flat) == ("call, p99", flat)


def test_of_few_requests_the_slowest_say_nothing():
    points = spread(0.010, 0.010, number=100)
    points[-1] = (points[-1][0], 60.0)
    points[-2] = (points[-2][0], 60.0)
    seen = verdict.latency("login", points, 3 * MINUTE)
    assert (seen.what, seen.flat) == ("login, p90", True)
    assert verdict.latency("login", spread(1, 9, number=19), 3 * MINUTE).flat is None


@pytest.mark.parametrize(("last", "flat"), [(200, True), (209, True), (211, False), (189, False)])
def test_a_request_writes_as_much_into_the_log_as_before(last, flat):
    points = over_time([200] * 20 + [last] * 10)
    assert verdict.log(points, 300).flat is flat


def growing(first, last):
    """Return bytes of tables that grow by so much a second, then by so much."""
    sizes = [0.0]
    for n in range(300):
        sizes.append(sizes[-1] + (first if n < 200 else last))
    return over_time(sizes, step=1)


@pytest.mark.parametrize(
    ("first", "last", "flat"),
    [(10_000, 10_000, True), (10_000, 14_000, True), (10_000, 16_000, False), (0, 1000, True)],
)
def test_tables_grow_but_not_ever_faster(first, last, flat):
    assert verdict.database(growing(first, last), 100).flat is flat


def test_an_unexpected_answer_is_told_with_its_number():
    assert verdict.failures({}).flat
    seen = verdict.failures({"login: 500, not 200": 3})
    assert (seen.seen, seen.flat) == ("3 × login: 500, not 200", False)


def test_the_table_tells_what_is_not_flat():
    rows = verdict.shown([verdict.same("tasks", 3, 4), verdict.latency("x", [], 1)]).splitlines()
    assert rows[2] == "| tasks, idle | 3 → 4 | equal | **no** |"
    assert rows[3] == "| x | 0 in a third of the time | 20 at least | too few |"


def test_the_order_of_the_load_is_always_the_same_and_has_every_kind():
    one, two = soak_load.schedule(), soak_load.schedule()
    round_of_all = [next(one) for _ in range(sum(weight for weight, _ in soak_load.KINDS.values()))]
    assert [next(two) for _ in round_of_all] == round_of_all
    assert {kind: round_of_all.count(kind) for kind in soak_load.KINDS} == {
        kind: weight for kind, (weight, _) in soak_load.KINDS.items()
    }


def test_the_page_of_the_soak_has_its_part_filled_in_and_the_rest_kept():
    before = soak.PAGE.read_text()
    after = soak.filled(before, "| a table |")
    assert soak.filled(after, "| a table |") == after
    rest = re.compile("<!-- Written.*<!-- The end[^>]*>", re.DOTALL)
    assert rest.sub("", after) == rest.sub("", before)
    assert "| a table |" in after


SCALE = {
    "date": "2026-01-01",
    "machine": "2 cores",
    "grants": 1000,
    "calls": {"lookup": {"p50_ratio": 1.02}},
    "bytes": {"oauth_refresh_tokens": 2_000_000, "oauth_access_tokens": 1_000_000},
    "cleanup": {"rate": 50_000.0},
}
PERFORMANCE = {
    "date": "2026-01-01",
    "machine": "2 cores",
    "runs": [
        {"server": "mcpserve", "era": "modern", "cpu": 400.0},
        {"server": "raw", "era": "modern", "cpu": 1.0},
    ],
    "processes": [{"server": "mcpserve", "idle": {"pss": 60.0}, "loaded": {"pss": 64.0}}],
    "others": {"refreshing tokens": {"cpu": 2000.0}, "1000 streams": {"kib_each": 32.0}},
}


def test_sizes_follow_from_results_and_what_was_not_measured_is_said():
    shown = sizing.shown({"scale": SCALE, "performance": PERFORMANCE})
    assert "| calls, modern era | 2,500 | 0.40 |" in shown
    assert "| refreshes | 500 | 2.00 |" in shown
    assert "A process takes 60 MiB, and 64 MiB after load" in shown
    assert "| together | 3,000 |" in shown
    assert "a million grants of ten tokens take 3.0 GB" in shown
    assert "Not measured yet: `./dev soak`." in shown
    page = sizing.filled(sizing.PAGE.read_text(), {"scale": SCALE})
    assert "3.0 GB" in page
    assert page.endswith(sizing.PAGE.read_text()[-100:])
