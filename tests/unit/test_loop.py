"""The loop of the server: no code can end it, or keep it from ending."""

import asyncio
import subprocess
import sys
import textwrap
import time

import pytest

from mcpserve import loop


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
@pytest.mark.parametrize("where", ["task", "callback", "late callback"])
def test_an_exit_in_a_task_or_callback_does_not_end_the_loop(error, where, caplog):
    async def fail():
        raise error

    def fail_at_once():
        raise error

    async def main():
        running = asyncio.get_running_loop()
        match where:
            case "task":
                task = asyncio.create_task(fail())
                await asyncio.wait([task])
                task.exception()
            case "callback":
                running.call_soon(fail_at_once)
            case _:
                running.call_later(0.001, fail_at_once)
        await asyncio.sleep(0.01)
        return "still here"

    assert loop.run(main()) == "still here"
    assert f"the server goes on after {error!r}" in caplog.text


def test_an_exit_beside_the_end_of_the_main_task_does_not_make_the_loop_run_for_ever():
    def fail():
        raise SystemExit

    async def main():
        running = asyncio.get_running_loop()
        for _ in range(5):
            running.call_soon(fail)
        await asyncio.sleep(0)
        for _ in range(5):
            running.call_soon(fail)
        return "done"

    assert loop.run(main()) == "done"


def test_what_the_main_task_raises_is_raised():
    async def main():
        raise SystemExit(4)

    with pytest.raises(SystemExit) as caught:
        loop.run(main())
    assert caught.value.code == 4


def test_a_task_that_does_not_stop_does_not_hold_up_the_end(monkeypatch, caplog):
    monkeypatch.setattr(loop, "END_TIMEOUT", 0.05)
    left = []

    async def stay():
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if len(left) > 1:
                    raise

    async def main():
        left.append(asyncio.create_task(stay()))
        await asyncio.sleep(0)

    started = time.monotonic()
    loop.run(main())
    assert time.monotonic() - started < 5
    assert "gave up <Task" in caplog.text
    left[0]._log_destroy_pending = False  # or pytest complains of what is tested here
    left.append(None)


def test_a_thread_of_an_executor_does_not_keep_the_process():
    program = """
        import asyncio, threading
        from mcpserve import loop

        async def main():
            asyncio.get_running_loop().run_in_executor(None, threading.Event().wait, 60)
            await asyncio.sleep(0.05)

        loop.run(main())
        print("served", flush=True)
        loop.leave()
    """
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        timeout=30,
        check=True,
        capture_output=True,
        text=True,
    )
    assert ended.stdout == "served\n"
