"""How long a refused login takes says nothing about whether the name exists."""

import statistics
import time

import pytest
from serving import PASSWORD, USER, Flow, serving

from mcpserve.oauth import users

# A hash of some 15 ms: far more than what the rest of a request differs by.
SLOW = {"login": {"bcrypt_rounds": 8}, "limits": {"login": {"failures": 100_000}}}
TRIES = 200
ENOUGH = 20
TOLERANCE = 0.05


async def seconds(browser, name, password):
    """Return how long it takes to be refused."""
    form = browser.fields() | {"username": name, "password": password}
    started = time.perf_counter()
    answer = await browser.http.post("/login", data=form)
    took = time.perf_counter() - started
    assert answer.status_code == 401
    return took


@pytest.mark.proves("LG-04")
@pytest.mark.parametrize(
    ("name", "password"),
    [("nobody", PASSWORD), ("nobody", "x" * 100), (USER, "x" * 100), ("disabled", PASSWORD)],
    ids=["no such user", "no such user, too long", "too long", "a disabled user"],
)
async def test_no_failed_login_is_faster_or_slower_than_a_wrong_password(dsn, name, password):
    async with serving(dsn, SLOW) as server, server.browser() as browser:
        hasher, login = server.services.hasher, server.services.settings.login
        await users.add(server.db, hasher, login, name="disabled", password=PASSWORD)
        await users.set_disabled(server.db, "disabled", disabled=True)
        await browser.open("/authorize", Flow(server).parameters())
        wrong, other = [], []
        difference = 1.0
        # A busy machine blurs the medians of a few; what is really different stays so.
        while len(wrong) < TRIES and (len(wrong) < ENOUGH or difference >= TOLERANCE):
            wrong.append(await seconds(browser, USER, "wrong battery staple"))
            other.append(await seconds(browser, name, password))
            usual = statistics.median(wrong)
            difference = abs(statistics.median(other) - usual) / usual
        assert difference < TOLERANCE, f"{difference:.0%} after {len(wrong)} tries"
