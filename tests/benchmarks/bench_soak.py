"""Loads a page as many browsers do while a run trains, and prints what that costs.

    python -m tests.benchmarks.bench_soak [--clients 50] [--seconds 600] [--sessions 200] [--lab]

The page is served by a process of its own, which trains the embedded model (with `--lab`, it only
pretends to). Each client opens the page, holds its heartbeat and polls the run as the page does.
Before and after that, the run trains alone. Growth counts from a tenth of the time on: by then,
everything has been imported and cached.
"""

import argparse
import asyncio
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil

from tests.browser.server import free_port
from tests.browser.slow_lab import SlowLab, retrained_scores
from unlearnlab.runs.events import StepLogged
from unlearnlab.runs.store import Store
from unlearnlab.runs.worker import Worker
from unlearnlab.spec.run import Phase, RunSpec

POLL_S = 1.0
"""How often the page asks for a run that trains, in seconds."""

CLEARED_S = 20.0
"""By then the server has noticed who went away, in seconds."""

CONFIG = re.compile(r"window\.gradio_config = (.*?);</script>")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--clients", type=int, default=50)
    options.add_argument("--seconds", type=float, default=600)
    options.add_argument("--sessions", type=int, default=200)
    options.add_argument("--calm", type=float, default=60, help="seconds without clients")
    options.add_argument("--lab", action="store_true", help="only pretend to train")
    options.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    asked = options.parse_args()
    if asked.serve is not None:
        serve(asked.serve, lab=asked.lab)
        return
    found = soak(asked.clients, asked.seconds, asked.sessions, asked.calm, lab=asked.lab)
    for what, measured, wanted in found.lines():
        sys.stdout.write(f"{what:<40} {measured:>24}   {wanted}\n")


def serve(home: Path, *, lab: bool) -> None:
    """Serve a page on a run that trains until stdin ends; print its address and the run's id."""
    from unlearnlab.ui.page import build, served  # noqa: PLC0415

    store = Store(home)
    if lab:
        engine = SlowLab(step_s=0.05, steps=10**6, rows=2)
    else:
        from unlearnlab.engine.device_engine import engines  # noqa: PLC0415

        engine = engines(store.evidence)
    worker = Worker(store, engine)
    run_id = worker.submit(RunSpec(phases=(Phase(epochs=1000),)))
    blocks = build(store, worker, references=retrained_scores())
    _, url, _ = blocks.launch(server_port=free_port(), prevent_thread_lock=True, **served())
    sys.stdout.write(f"{url} {run_id}\n")
    sys.stdout.flush()
    sys.stdin.read()
    worker.close(30)
    blocks.close(verbose=False)
    store.close()


@contextmanager
def serving(home: Path, *, lab: bool) -> Iterator[tuple[psutil.Process, str, str]]:
    """Serve a page: its process, its address, and the id of the run that trains."""
    words = ["-m", "tests.benchmarks.bench_soak", "--serve", str(home), *(["--lab"] if lab else [])]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, *words], text=True, **pipes) as process:
        try:
            url, run_id = process.stdout.readline().split()
            yield psutil.Process(process.pid), url.rstrip("/"), run_id
        finally:
            process.stdin.close()


@dataclass(frozen=True, slots=True)
class Held:
    """What a process holds at a moment."""

    bytes: int
    threads: int
    descriptors: int
    connections: int

    @classmethod
    def by(cls, process: psutil.Process) -> "Held":
        """Look at a process."""
        open_ones = [one for one in process.net_connections("tcp") if one.status == "ESTABLISHED"]
        rss, threads = process.memory_info().rss, process.num_threads()
        return cls(rss, threads, process.num_fds(), len(open_ones))


@dataclass
class Found:
    """What a soak measured."""

    polls_s: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    calm: Held | None = None
    """Before the first client, once a page had been opened and closed."""
    warm: Held | None = None
    loaded: Held | None = None
    after: Held | None = None
    """After the clients went away."""
    opened_and_closed: Held | None = None
    """After the sessions that were only opened and closed."""
    paces: list[float] = field(default_factory=list)
    """Steps per second: alone, with clients, alone again."""

    @property
    def p95_ms(self) -> float:
        return 1000 * statistics.quantiles(self.polls_s, n=20)[-1]

    @property
    def growth(self) -> float:
        """Growth of memory under load, as a share."""
        return self.loaded.bytes / self.warm.bytes - 1

    @property
    def slowdown(self) -> float:
        """Share of the training's pace that the clients take."""
        before, during, after = self.paces
        return 1 - 2 * during / (before + after)

    def lines(self) -> Iterator[tuple[str, str, str]]:
        """Yield what was measured, and what is wanted."""
        median = 1000 * statistics.median(self.polls_s)
        yield "polls", f"{len(self.polls_s):,}", ""
        yield "poll, median / p95", f"{median:.0f} / {self.p95_ms:.0f} ms", "p95 at most 500 ms"
        yield "errors", f"{len(self.errors)} {self.errors[:1] or ''}", "none"
        yield "memory, warm / at the end", *_memory(self.warm, self.loaded, "at most 2 % more")
        yield "after open and close", *_memory(self.after, self.opened_and_closed, "no more")
        for name in ("threads", "descriptors", "connections"):
            held = (self.calm, self.loaded, self.after, self.opened_and_closed)
            counts = " / ".join(str(getattr(one, name)) for one in held)
            yield f"{name}, before / under / after", counts, "after as before"
        yield "steps/s, alone / under / alone", " / ".join(f"{x:.2f}" for x in self.paces), ""
        yield "training slowed by", f"{100 * self.slowdown:.1f} %", "at most 10 %"


def _memory(one: Held, other: Held, wanted: str) -> tuple[str, str]:
    share = 100 * (other.bytes / one.bytes - 1)
    return f"{one.bytes / 1e6:.0f} / {other.bytes / 1e6:.0f} MB, {share:+.1f} %", wanted


def soak(clients: int, seconds: float, sessions: int, calm_s: float, *, lab: bool) -> Found:
    """Serve a page, load it, and measure."""
    with tempfile.TemporaryDirectory() as folder:
        with serving(Path(folder), lab=lab) as (process, url, run_id):
            with Store(Path(folder)) as store:
                while not any(isinstance(one.event, StepLogged) for one in store.events(run_id)):
                    time.sleep(0.2)
            found = Found()
            moments = asyncio.run(
                _load(found, process, url, run_id, clients, seconds, sessions, calm_s)
            )
            with Store(Path(folder)) as store:
                times = [
                    one.at for one in store.events(run_id) if isinstance(one.event, StepLogged)
                ]
        for began, ended in moments:
            found.paces.append(sum(began <= at < ended for at in times) / (ended - began))
        return found


async def _load(
    found: Found,
    process: psutil.Process,
    url: str,
    run_id: str,
    clients: int,
    seconds: float,
    sessions: int,
    calm_s: float,
) -> list[tuple[float, float]]:
    """Load a page; the moments between which the run trained alone, with clients, and alone."""
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=30, limits=limits) as http:
        async with _session(http, "first"):
            pass
        await asyncio.sleep(CLEARED_S)
        found.calm = Held.by(process)
        alone = time.time()
        await asyncio.sleep(calm_s)
        crowded, until = time.time(), time.time() + seconds
        tasks = [
            asyncio.create_task(_client(found, http, f"c{n}", run_id, until, n / clients))
            for n in range(clients)
        ]
        await asyncio.sleep(seconds / 10)
        found.warm = Held.by(process)
        await asyncio.sleep(max(0.0, until - time.time() - 1))
        found.loaded = Held.by(process)
        await asyncio.gather(*tasks)
        left = time.time()
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=30, limits=limits) as http:
        await asyncio.sleep(CLEARED_S)
        found.after = Held.by(process)
        again = time.time()
        await asyncio.sleep(calm_s)
        calmed = time.time()
        for n in range(sessions):
            async with _session(http, f"s{n}") as component:
                await _poll(http, f"s{n}", component, run_id, 0)
    await asyncio.sleep(CLEARED_S)
    found.opened_and_closed = Held.by(process)
    return [(alone, crowded), (crowded, left), (again, calmed)]


@asynccontextmanager
async def _session(http: httpx.AsyncClient, name: str) -> AsyncIterator[int]:
    """Open the page with its heartbeat: the number of the component that answers polls."""
    page = (await http.get("/")).raise_for_status().text
    components = json.loads(CONFIG.findall(page)[0])["components"]
    async with AsyncExitStack() as stack:
        beat = http.stream("GET", f"/gradio_api/heartbeat/{name}", timeout=None)
        await stack.enter_async_context(beat)
        yield next(x["id"] for x in components if "poll_run" in x["props"].get("server_fns", ()))


async def _client(
    found: Found, http: httpx.AsyncClient, name: str, run_id: str, until: float, offset_s: float
) -> None:
    """Poll a run as the page does, until a moment."""
    await asyncio.sleep(offset_s)
    cursor = 0
    try:
        async with _session(http, name) as component:
            while time.time() < until:
                began = time.perf_counter()
                cursor = await _poll(http, name, component, run_id, cursor)
                found.polls_s.append(time.perf_counter() - began)
                await asyncio.sleep(POLL_S)
    except (httpx.HTTPError, KeyError, IndexError, ValueError) as error:
        found.errors.append(f"{name}: {error!r}")


async def _poll(
    http: httpx.AsyncClient, name: str, component: int, run_id: str, cursor: int
) -> int:
    """Ask for what is new of a run: the number of its last event."""
    asked = {"run": run_id, "cursor": cursor, "masked": None}
    body = {"data": asked, "component_id": component, "fn_name": "poll_run", "session_hash": name}
    answer = (await http.post("/gradio_api/component_server/", json=body)).raise_for_status().json()
    if answer.get("problem") or answer["run"] != run_id:
        raise ValueError(answer.get("problem") or "another run")
    return answer["cursor"]


if __name__ == "__main__":
    main()
