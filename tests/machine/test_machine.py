"""Everything in any order: the server answers as the model says (``./dev fuzz`` for longer)."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test
from machine.machine import Machine
from machine.world import opened

SEEDS = Path(__file__).with_name("seeds.txt")
"""Of runs that failed once."""
EXAMPLES = int(os.environ.get("MCPSERVE_FUZZ_EXAMPLES", "40"))
STEPS = int(os.environ.get("MCPSERVE_FUZZ_STEPS", "40"))

SHRINKS = "MCPSERVE_FUZZ_SHRINK" in os.environ
"""Finding the shortest way to a failure takes minutes."""


def seeds():
    kept = [int(line.partition("#")[0]) for line in SEEDS.read_text("utf-8").splitlines() if line]
    return [*kept, int(os.environ["FUZZ_SEED"])]


@pytest.mark.proves("AC-07", "AC-08", "RF-04", "RF-05", "RF-10", "CC-06", "RV-04", "RV-06", "DC-08")
@pytest.mark.parametrize("number", seeds())
def test_the_server_answers_as_the_model_says(dsn, number):
    with opened(dsn) as world:
        run_state_machine_as_test(
            seed(number)(lambda: Machine(world)),
            settings=settings(
                max_examples=EXAMPLES,
                stateful_step_count=STEPS,
                deadline=None,
                database=None,
                print_blob=False,
                phases=[Phase.generate, *([Phase.shrink] if SHRINKS else [])],
                suppress_health_check=list(HealthCheck),
            ),
        )
