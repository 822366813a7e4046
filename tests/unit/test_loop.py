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


@pytest.mark.parametrize(
    "begin",
    [
        "asyncio.get_running_loop().run_in_executor(None, wait)",
        "threading.Thread(target=wait).start()",
        "threading.Thread(target=lambda: pool.submit(wait), daemon=True).start()",
    ],
)
def test_a_thread_does_not_keep_the_process(begin):
    program = """
        import asyncio, sys, threading
        from concurrent.futures import ThreadPoolExecutor
        from mcpserve import loop

        pool, wait = ThreadPoolExecutor(), threading.Event().wait

        async def main():
            eval(sys.argv[1])
            await asyncio.sleep(0.05)

        loop.run(main())
        print("served", flush=True)
        loop.leave()
    """
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), begin],
        timeout=30,
        check=True,
        capture_output=True,
        text=True,
    )
    assert ended.stdout == "served\n"


def test_a_task_that_stops_the_loop_does_not_end_the_server(caplog):
    async def main():
        running = asyncio.get_running_loop()
        running.stop()
        await asyncio.sleep(0)
        running.call_soon(running.stop)
        await asyncio.sleep(0.01)
        with pytest.raises(RuntimeError, match="already running"):
            running.run_until_complete(running.create_future())
        with pytest.raises(RuntimeError, match="running event loop"):
            running.close()
        return "still here"

    assert loop.run(main()) == "still here"
    assert caplog.text.count("the server goes on after loop.stop()") == 2


ENDING = """
    import asyncio, os, signal, sys, threading, time
    from mcpserve import loop, serving

    async def main():
        with loop.last_resort() as end_in, serving.stop_signals(lambda: end_in(0.3)) as (stop, _):
            threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGTERM)).start()
            if sys.argv[1] == "blocks":
                time.sleep(60)
            await stop.wait()
            if sys.argv[1] == "blocks at the end":
                time.sleep(60)

    loop.run(main())
"""


@pytest.mark.parametrize(("does", "line"), [("blocks", 9), ("blocks at the end", 12)])
def test_a_signal_ends_the_process_in_time_even_while_the_loop_is_blocked(does, line):
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(ENDING), does],
        timeout=30,
        check=False,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 70
    assert ended.stderr == f"ended by force, this does not end: <string>:{line} (main)\n"
