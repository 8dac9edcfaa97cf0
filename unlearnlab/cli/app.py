"""The command `app`: serves the page. Here store, worker, engine and page meet."""

import argparse
import os
import socket
import sys
import threading
import time
import webbrowser
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from unlearnlab.cli.access import Access, access, add_options
from unlearnlab.cli.commands import DONE, STOPPED, Commands, tell
from unlearnlab.data.datasets import Row
from unlearnlab.data.files import ASSETS, home, remove
from unlearnlab.exports.pack_file import read_pack
from unlearnlab.exports.packs import isolated
from unlearnlab.metrics.measures import retrained_scores
from unlearnlab.metrics.scores import import_scorers
from unlearnlab.runs.engine_api import Device, TokenPreview
from unlearnlab.runs.replay import Recording, ReplayError, Replays, recording
from unlearnlab.runs.store import Store, make_folder
from unlearnlab.runs.worker import Worker
from unlearnlab.spec.errors import SpecError
from unlearnlab.spec.run import ModelSpec, Template

FIRST_PORT, LAST_PORT = 7860, 7959
GLANCE_S = 1.0
"""Polling interval for active replays, in seconds."""

OPENING_S = 15.0
"""How long the engine waits for a browser to open before it loads beside a replay, in seconds."""

HIGHEST_PORT = 65535

DEMO = ASSETS / "recordings" / "quick-demo.zip"
"""A run of the first preset, recorded by `python -m tests.benchmarks.record_demo`."""

CLOSING_S = 15.0
"""How long live runs may take to restore their weights when the program ends, in seconds."""

FORGOTTEN_S = 24 * 3600.0
"""Age from which an uploaded file is taken for that of a killed program, in seconds."""


def register(commands: Commands) -> None:
    """Add the command to the program's."""
    options = commands.add("app", _app, "open the page in a browser", home=True)
    options.add_argument("--host", default="127.0.0.1", help="address to listen on")
    options.add_argument(
        "--port", type=int, help=f"port (default: the first free one from {FIRST_PORT})"
    )
    options.add_argument(
        "--root-path",
        metavar="PATH",
        default=os.environ.get("GRADIO_ROOT_PATH", ""),
        help="where a proxy serves the page, such as /lab, or the whole address (default: "
        "GRADIO_ROOT_PATH)",
    )
    add_options(options)
    options.add_argument("--share", action="store_true", help="make a public link through Gradio")
    options.add_argument(
        "--replay",
        metavar="RUN",
        help="show a recorded run as if it were live, without a GPU: its id, or a FILE.zip",
    )
    pace = options.add_mutually_exclusive_group()
    pace.add_argument("--speed", metavar="N", help="replay at N times the recorded speed")
    pace.add_argument(
        "--in", metavar="SECONDS", dest="seconds", help="make the replay last this long"
    )
    screen = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    options.add_argument(
        "--open",
        action=argparse.BooleanOptionalAction,
        default=bool(screen) or sys.platform in ("darwin", "win32"),
        help="open the page in a browser (default: where a browser can be shown)",
    )


def free_port(host: str, asked: int | None) -> int:
    """Return the port to listen on.

    Args:
        host: An address, without brackets.
        asked: The wanted port; none takes the first free one.

    Raises:
        SpecError: The port that was asked for is none or taken, or all are.
    """
    if asked is not None and not 1 <= asked <= HIGHEST_PORT:
        raise SpecError([("port", f"{asked} is no port: take one from 1 to {HIGHEST_PORT}")])
    # Gradio probes the port here too, whatever the host.
    hosts = dict.fromkeys((host, "127.0.0.1"))
    failure = ""
    for port in (asked,) if asked else range(FIRST_PORT, LAST_PORT + 1):
        try:
            for one in hosts:
                _probe(one, port)
        except UnicodeError:
            raise SpecError([("host", f"{host!r} is no address")]) from None
        except OSError as error:
            failure = error.strerror
        else:
            return port
    which = f"port {asked}" if asked else f"ports {FIRST_PORT} to {LAST_PORT}"
    problem = f"{which} on {host} cannot be used: {failure}; try --port or --host"
    raise SpecError([("", problem)])


def _probe(host: str, port: int) -> None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))


def root_path(asked: str) -> str:
    """Return the path that a proxy puts before the page's addresses, or its whole address.

    Raises:
        SpecError: It holds what no path holds.
    """
    path = asked.strip().rstrip("/")
    if set("?# \\") & set(path):
        raise SpecError([("root-path", f"{asked!r} is no path: give one such as /lab")])
    return path if not path or path.startswith(("/", "http://", "https://")) else f"/{path}"


def _app(args: argparse.Namespace) -> int:
    """Serve the page until Ctrl-C."""
    args.root_path = root_path(args.root_path)
    if args.host.startswith("[") and args.host.endswith("]"):
        args.host = args.host[1:-1]
    asked, port = access(args), free_port(args.host, args.port)
    try:
        with Store(home()) as store:
            replays = replayed(store, args.replay, args.speed, args.seconds)
            worker = Worker(store, args.open_engine(store))
            try:
                keep_uploads_private(home() / "uploads")
                serve(store, worker, replays, args, port, asked)
            except KeyboardInterrupt:
                tell("ending; Ctrl-C again leaves at once")
            finally:
                if not worker.close(CLOSING_S):
                    worker.give_up()
    except KeyboardInterrupt:  # A second one, while it was ending.
        tell("left at once: the running run counts as interrupted")
        return STOPPED
    return DONE


def keep_uploads_private(folder: Path) -> None:
    """Have Gradio keep uploaded files where their owner alone reads them, not in /tmp.

    Args:
        folder: Where to; files of programs that were killed are removed. A folder that
            GRADIO_TEMP_DIR names is used in its place, as it is.
    """
    make_folder(folder)
    for upload in folder.iterdir():
        if time.time() - upload.stat().st_mtime > FORGOTTEN_S:
            remove(upload)
    os.environ["GRADIO_TEMP_DIR"] = os.environ.get("GRADIO_TEMP_DIR") or str(folder)


def replayed(store: Store, run: str | None, speed: str | None, seconds: str | None) -> Replays:
    """Prepare the replay that was asked for, which begins when a page first shows it.

    Raises:
        PackError: The file is no pack of runs.
        ReplayError: The run cannot be replayed, or not so fast.
        StoreError: There is no such run.
    """
    if run is None:
        if speed is not None or seconds is not None:
            raise ReplayError("--speed and --in belong to a replay: name its run with --replay")
        return Replays(demo=demo(store))
    path = Path(run)
    guests = packed(store, path) if path.suffix == ".zip" or path.is_file() else []
    found = guests[0] if guests else recording(store.row(run), store.events(run))
    replays = Replays(guests, demo=demo(store))
    replays.start(found, found.pace(speed, seconds), when_seen=True)
    return replays


def demo(store: Store) -> Recording | None:
    """Return the recorded run that comes with the program."""
    return packed(store, DEMO)[0] if DEMO.is_file() else None


def packed(store: Store, path: Path) -> list[Recording]:
    """Read the runs of a pack without importing them; those without a step are left out.

    Raises:
        PackError: It is no pack of runs.
        ReplayError: None of its runs can be replayed.
        StoreError: The store cannot be read.
    """
    found: list[Recording] = []
    refused: list[ReplayError] = []
    for run in read_pack(path):
        guest = isolated(run, store.evidence)
        row = replace(guest.row, origin=f"from {path.name}")
        try:
            found.append(recording(row, guest.events, guest.evidence))
        except ReplayError as error:
            refused.append(error)
    if not found:
        raise refused[0]
    return found


def serve(
    store: Store,
    worker: Worker,
    replays: Replays,
    args: argparse.Namespace,
    port: int,
    asked: Access,
) -> None:
    """Put the page on the network and wait."""
    # Gradio takes seconds to import: no other command should wait for it.
    from unlearnlab.ui.guard import Guard  # noqa: PLC0415
    from unlearnlab.ui.login import Login, fresh_token  # noqa: PLC0415
    from unlearnlab.ui.page import build, served  # noqa: PLC0415

    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    imported = threading.Event()

    def listed() -> Sequence[Device]:
        """List the devices and their free memory; none until the engine is imported."""
        if not imported.is_set():
            return ()
        from unlearnlab.engine.loading import devices  # noqa: PLC0415

        return devices()

    def tokens(model: ModelSpec, template: Template, row: Row) -> TokenPreview:
        from unlearnlab.engine.prompts import preview_tokens  # noqa: PLC0415

        return preview_tokens(model, template, row)

    login, token = None, ""
    if asked.password is not None:
        user, password = asked.password
        login = Login(user=user, password=password, tell=tell)
    elif asked.by_link:
        login = Login(token=(token := fresh_token()), tell=tell)
    blocks = build(
        store,
        worker,
        references=retrained_scores(),
        device=f"cpu, {threads} threads",
        devices=listed,
        tokens=tokens,
        replays=replays,
        login=login is not None,
    )
    # Gradio asks its own page as it starts; a proxy of the environment knows no such page.
    for name in ("NO_PROXY", "no_proxy"):
        known = os.environ.get(name, "")
        near = (known, "localhost", "127.0.0.1", "::1", args.host)
        os.environ[name] = ",".join(filter(None, near))
    name = f"[{args.host}]" if ":" in args.host else args.host
    guard = Guard(
        host=args.host,
        names=args.allow_host,
        root_path=args.root_path,
        login=login,
        paths=args.allow_paths,
        # Not those of imported runs: a visitor may have written the file.
        folders=lambda: {row.spec.model.name for row in store.runs() if not row.origin},
    )
    _, url, public = blocks.launch(
        server_name=name,
        server_port=port,
        share=args.share,
        root_path=args.root_path,
        prevent_thread_lock=True,
        **served(guard),
    )
    if public:
        guard.allow(urlsplit(public).hostname or "")
    # Gradio's page of a shared link takes its scripts from another host.
    blocks.share = False
    key = f"?token={token}" if token else ""
    url = f"{public or url.replace('//[::]:', '//localhost:')}".rstrip("/") + "/"
    behind = f", behind a proxy at {args.root_path}/{key}" if args.root_path else ""
    tell(f"the page is at {url}{key}{behind} (Ctrl-C ends the program)")
    if args.host in ("0.0.0.0", "::"):
        tell(f"from other machines: http://{socket.gethostname()}:{port}/{key}")
    threading.Thread(
        target=import_engine, args=(replays, imported), name="import-engine", daemon=True
    ).start()
    if args.open:
        # The list of processes shows what a browser is started with.
        webbrowser.open(f"{url}?token={login.single_use()}" if login and token else url)
    try:
        threading.Event().wait()
    finally:
        blocks.close(verbose=False)


def import_engine(replays: Replays, imported: threading.Event) -> None:
    """Import torch once no replay moves: replays do not need it, and it would slow them down.

    While the page opens, a replay that is about to begin counts as moving.
    """
    opening = time.monotonic() + OPENING_S
    while any(
        not clock.held and (clock.since is not None or time.monotonic() < opening)
        for clock in (replay.clock for replay in replays.active())
    ):
        time.sleep(GLANCE_S)
    import unlearnlab.engine.device_engine  # noqa: F401, PLC0415

    import_scorers()
    imported.set()
