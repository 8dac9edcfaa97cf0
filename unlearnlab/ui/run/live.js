// The live panel: asks for what is new, fills the status line, has the chart drawn.
// Runs as the body of a function of (element, trigger, props, server, watch).
// All text from the server goes through textContent: it may be a model's or a user's.

const LIVE_MS = 1000;
const FIRST_MS = 400; // Until the first point: the reader waits for it.
const IDLE_MS = 2500;
const MANY_POINTS = 6000;

let run = null;
let adopted = null; // The value that the page shows.
let shownTake = null; // Of the replay that the points at hand are of; 0 for the run itself.
let cursor = 0;
let opened = false;
let last = null;
let series = new Map();
let phases = [];
let changes = [];
const untold = once();

// ---- the status line -------------------------------------------------------------------------

// The share of a run that is done; one that only scores has one stretch.
function done({ progress: [before, trained, after] }) {
  return phases.length === 0 ? before : 0.2 * before + 0.6 * trained + 0.2 * after;
}

function fill(status) {
  const card = part("status");
  card.dataset.status = status.status;
  write(card.querySelector("h2"), status.title);
  write(card.querySelector(".pill"), status.status);
  refill(card.querySelector(".run-settings"), status.settings, () =>
    status.settings.map((text) => made("li", "", text)),
  );
  write(part("headline"), status.headline);
  write(part("detail"), status.detail);
  write(part("facts"), status.facts.join("  ·  "));
  const lines = changes.map((one) => (happened(one) ? `Step ${one.step}: ${one.text}` : one.text));
  show("changes", lines.length > 0);
  refill(part("changes"), lines, () => lines.map((text) => made("li", "", text)));
  card.querySelector(".bars").classList.toggle("one", phases.length === 0);
  progress(card, status.progress, done(status), status.headline);
  write(part("advice"), status.advice && `What to try: ${status.advice}`);
  show("advice", Boolean(status.advice));
}

const IDS = { hold: "hold", stop: "stop", cut: "stop-score" };

function fillButtons(box, of, buttons, named = "") {
  const focused = box.contains(document.activeElement) && document.activeElement.dataset.press;
  const renewed = refill(box, [of, buttons], () =>
    buttons.map(({ event, text, on }) => {
      const node = button("press", text, { press: event, run: of });
      if (named) node.setAttribute("aria-label", `${text} ${named}`);
      else node.id = IDS[event];
      node.setAttribute("aria-disabled", String(!on));
      return node;
    }),
  );
  if (renewed && focused) (box.querySelector(`[data-press="${focused}"]`) ?? heading()).focus();
}

// Takes the focus of a button that is gone.
function heading() {
  const found = part("status").querySelector("h2");
  found.tabIndex = -1;
  return found;
}

// What goes on while another run is shown: it can be opened, paused and stopped from here.
function fillRunning(found) {
  const box = part("running");
  show("running", found.length > 0);
  refill(box, found.map(({ run: id, title }) => [id, title]), () =>
    found.map(({ run: id, title }) => {
      const line = made("li");
      line.append(button("open", title, { press: "open", run: id }), made("span"), made("span", "run-buttons"));
      return line;
    }),
  );
  found.forEach((one, at) => {
    const [, said, buttons] = box.children[at].children;
    write(said, one.said);
    fillButtons(buttons, one.run, one.buttons, one.title);
  });
}

function openRunning() {
  document.getElementById("tab-unlearn-button")?.click();
  const first = part("running").querySelector('[data-press="open"]');
  if (first) first.click();
  else element.scrollIntoView({ block: "start" });
}

element.addEventListener("click", ({ target }) => {
  const pressed = target.closest("button[data-press]");
  if (!pressed || pressed.getAttribute("aria-disabled") === "true") return;
  const { press: event, run: of } = pressed.dataset;
  if (event === "open") trigger("open", { run: of });
  if (event === "hold") trigger("hold", { run: of });
  if (event === "stop") trigger("stop", { run: of });
  if (event === "cut") trigger("cut", { run: of });
});
document.addEventListener("open-running", openRunning);
element.querySelector('[data-part="demo"]')?.addEventListener("click", () => trigger("demo", {}));

// The title of the browser's tab says how far the run is; its end is told once, also by the browser
// itself where the reader has allowed that.
const TITLE = "unlearnlab";
let awaited = ""; // The run that was seen going on.

function tellEnd(found) {
  const percent = Math.round(100 * done(found.status));
  const name = found.status.title;
  const running = found.live && !found.replay.take;
  if (running) {
    document.title = `${percent}% · ${name} · ${TITLE}`;
    awaited = found.run;
  } else if (awaited === found.run) {
    document.title = `${found.status.status}: ${name} · ${TITLE}`;
    awaited = "";
    if (window.Notification?.permission === "granted" && document.visibilityState === "hidden")
      new Notification(`${name}: ${found.status.status}`, { tag: found.run });
  } else if (document.hasFocus()) {
    document.title = TITLE;
  }
  show("notify", running && window.Notification?.permission === "default");
}

part("notify").addEventListener("click", async () => {
  await Notification.requestPermission();
  show("notify", false);
});

// One cell for each forget document that the probe follows, in the order of the data.
function fillDocuments(found) {
  show("documents", Boolean(found));
  if (!found) return;
  write(part("documents-text"), found.text);
  refill(part("document-strip"), found.cells, () =>
    found.cells.map(([state, told]) => {
      const cell = made("i", state);
      cell.title = told;
      return cell;
    }),
  );
}

// ---- asking ----------------------------------------------------------------------------------

function forget() {
  cursor = 0;
  last = null;
  series = new Map();
  phases = [];
  changes = [];
  forgetSaid();
  forgetPace();
}

function adopt() {
  // Asked for before the reader opened another run, answered after: what is shown stays.
  if (run && props.value?.redrawn && props.value.redrawn !== run) {
    props.value = adopted;
    trigger("turned", { whole: true, run });
    return false;
  }
  adopted = props.value;
  const wanted = props.value?.run || "";
  const chosen = opened && wanted !== run && wanted !== document.body.dataset.following;
  opened = Boolean(props.value?.turn);
  if (wanted === run) return true;
  run = wanted;
  shownTake = null;
  log = null;
  looked = null;
  layUnder(null);
  forget();
  show("empty", run === "");
  show("status", false);
  show("chart", false);
  show("says", false);
  if (chosen && (element.getBoundingClientRect().top < 0 || window.innerWidth <= 860))
    element.scrollIntoView({ behavior: "smooth" });
  return true;
}

function request() {
  if ([...series.values()].some((points) => points.x.length > MANY_POINTS)) forget();
  return server.poll_run({ run, cursor, masked: wantsMask() });
}

function take(found) {
  // Gradio loads the page again too, but later: what is pressed until then would be lost.
  if (found.life !== props.life) return location.reload();
  const another = shownTake !== null && found.run && found.replay.take !== shownTake;
  shownTake = found.run ? found.replay.take : null;
  if (another) {
    forget();
    return soon();
  }
  const fresh =
    cursor === 0 ||
    Object.keys(found.points?.series || {}).length > 0 ||
    found.steps !== last?.steps ||
    JSON.stringify([found.phases, found.changes]) !== JSON.stringify([phases, changes]);
  last = found;
  cursor = found.cursor;
  chip("chip-queue", found.queue);
  chip("chip-device", found.device);
  fillRunning(found.running);
  if (found.run) follow(found);
  const turned = (word, whole) => untold(word) && trigger("turned", { whole, run });
  const scores = document.querySelector("#scoreboard [data-drawn]")?.dataset.drawn ?? "";
  // The server draws the rest of the page, asked once for every change. Two answers that
  // overtook each other can leave one run's scores under another run's name: then all is drawn.
  if (found.turn !== props.value.turn) turned(found.turn, false);
  else if (scores !== (props.value.drawn ?? "")) turned(`${found.turn} whole`, true);
  if (fresh && !part("chart").hidden) draw();
}

function follow(found) {
  for (const [name, [xs, ys]] of Object.entries(found.points.series)) {
    if (!known(name)) continue;
    const points = series.get(name) || { x: [], y: [] };
    points.x.push(...xs);
    points.y.push(...ys);
    series.set(name, points);
  }
  phases = found.phases;
  changes = found.changes;
  takePace(found.pace);
  references = found.references;
  fill(found.status);
  fillButtons(part("buttons"), found.run, found.buttons);
  tellEnd(found);
  fillReplay(found.replay);
  fillDocuments(found.documents);
  takeSaid(found.says);
  show("status", true);
  show("chart", found.live || series.size > 0);
  if (log === null) setLog(chosen.log ?? found.log);
  // Weights that stay as they were set are no news.
  const vary = [...series].some(
    ([name, { y }]) => name.startsWith("weight.") && y.some((value) => value !== y[0]),
  );
  segments.querySelector('[data-panel="weights"]').hidden = !vary;
  if (!vary && panel === "weights") choosePanel("terms");
}

// Quick while a prompt waits for its answers, or a replay runs perhaps many times as fast.
function pace() {
  if (document.visibilityState !== "visible" || element.offsetParent === null) return SLOWEST_MS;
  const replayed = last?.replay?.take > 0 && !last.replay.held;
  if (replayed || document.querySelector("#asks .pending")) return FIRST_MS;
  return !last?.live ? IDLE_MS : series.size ? LIVE_MS : FIRST_MS;
}

// ---- the replay bar ---------------------------------------------------------------------------

const bar = part("replay");

function fillReplay(replay) {
  const going = replay.take > 0;
  show("badge", going);
  write(part("badge"), replay.held ? "Replay paused" : "Replay");
  bar.hidden = !replay.offered;
  bar.classList.toggle("going", going);
  write(part("replay-said"), going ? replay.said : "this run as it was recorded");
  write(part("replay-hold"), replay.held ? "Resume" : "Pause");
  show("replay-hold", going);
  show("replay-end", going);
  press(
    bar.querySelectorAll(".segments button"),
    (one) => going && one.textContent === replay.pace,
  );
}

async function askReplay(action, pace = {}) {
  const call = server.replay_run({ run, action, ...pace });
  const { problem } = await call.catch((error) => ({ problem: problemOf(error) }));
  write(part("replay-problem"), problem);
  show("replay-problem", Boolean(problem));
  soon();
}

bar.addEventListener("click", (event) => {
  const pressed = event.target.closest("button");
  const going = last?.replay?.take > 0;
  if (!pressed) return;
  if (pressed === part("replay-hold")) askReplay(last?.replay?.held ? "resume" : "hold");
  else if (pressed === part("replay-end")) askReplay("end");
  else askReplay(going ? "pace" : "start", { ...pressed.dataset });
});

keepDrawn(() => draw());
const soon = poll({
  request,
  take,
  pace,
  // Until the page has opened, it is not known which run it shows.
  seen: () => opened && element.offsetParent !== null,
  always: () => opened && awaited !== "",
  needs: ["turn"],
  lost: "A running job continues without this page.",
});
document.addEventListener("asked", soon);
watch("value", () => {
  if (adopt()) trigger("shown", {});
  soon();
});
adopt();
// The first answer may have come before this panel was there to watch for it.
if (opened) trigger("shown", {});
