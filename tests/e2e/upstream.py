"""The services that the plugins ask, on this machine, in the form in which the real ones answer."""

import json
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from plugins.get_weather.tests.conftest import forecast, search

PAGES = {
    "batchcomplete": True,
    "query": {
        "search": [
            {
                "ns": 0,
                "title": "Ångström (unit)",
                "snippet": 'A <span class="searchmatch">unit</span> of length &amp; more',
            }
        ]
    },
}


def wikipedia(_asked: dict[str, str]) -> tuple[int, Any]:
    """Return what ``list=search`` answers to everything."""
    return 200, PAGES


ARTICLE = """<!DOCTYPE html><html lang="en"><head><title>Ångström</title></head><body>
<nav>NAVIGATION</nav><article><h1>Ångström</h1><p>The ångström is a unit of length that is
equal to one ten-billionth of a metre. It is not part of the international system.</p></article>
</body></html>"""


def article(_asked: dict[str, str]) -> tuple[int, Any]:
    """Return the page of the one thing that is found."""
    return 200, ARTICLE


ANSWERS = {
    "/v1/search": search,
    "/v1/forecast": forecast,
    "/w/api.php": wikipedia,
    "/wiki/%C3%85ngstr%C3%B6m_(unit)": article,
}


class Upstream(ThreadingHTTPServer):
    """Open-Meteo and Wikipedia at one address. Each answer waits until ``released`` is set."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.asked = threading.Event()
        self.released = threading.Event()
        self.released.set()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,))

    def __enter__(self) -> "Upstream":
        """Serve."""
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Stop."""
        self.released.set()
        self.shutdown()
        self._thread.join()
        self.server_close()

    @property
    def plugins(self) -> dict[str, Any]:
        """The configuration of the plugins, with these services in place of the real ones."""
        readable = {"private_networks": ["127.0.0.1/32"], "ports": [self.server_port]}
        weather = {"geocoding_url": self.url, "forecast_url": self.url}
        return {
            "calculator": {},
            "get_weather": {"config": weather},
            "search_web": {"config": {"wikipedia": {"base_url": self.url}, "fetch": readable}},
        }


class Answer(BaseHTTPRequestHandler):
    """One request."""

    server: Upstream

    def do_GET(self) -> None:
        """Answer as the service of that path does."""
        self.server.asked.set()
        self.server.released.wait(30)
        parts = urlsplit(self.path)
        status, answer = ANSWERS[parts.path](dict(parse_qsl(parts.query)))
        is_page = isinstance(answer, str)
        body = (answer if is_page else json.dumps(answer)).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/html" if is_page else "application/json")
        self.send_header("Content-Length", str(len(body)))
        with suppress(ConnectionError):  # The server was ended in the meantime.
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""
