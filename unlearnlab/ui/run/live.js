// The live panel: asks for what is new, fills the status line, draws the chart.
// Runs as the body of a function of (element, trigger, props, server, watch).
// All text from the server goes through textContent: it may be a model's or a user's.

const LIVE_MS = 1000;
const FIRST_MS = 400; // Until the first point: the reader waits for it.
const IDLE_MS = 2500;
const MANY_POINTS = 6000;
const LEFT = 64; // Room for five digits beside the title of the axis, in pixels.
const BAND = { gap: 7, height: 20 }; // Of the phases above the plot, in pixels.

let run = null;
let adopted = null; // The value that the page shows.
let shownTake = null; // Of the replay that the points at hand are of; 0 for the run itself.
let cursor = 0;
let opened = false;
let last = null;
let series = new Map();
let phases = [];
let changes = [];
let panel = "terms";
let log = null;
let hidden = new Set();
const segments = element.querySelector(".chart-head .segments");
const untold = once();
let listening = false;
let whole = 1; // Steps that the axis was drawn for: its range, unless the reader has zoomed.

// ---- what is drawn ---------------------------------------------------------------------------

function plain(text) {
  return String(text).replace(/[<>&]/g, "");
}

function known(name) {
  const found = props.drawing.traces.find((trace) => trace.series === name);
  if (found) return found;
  const [kind, what] = name.split(".");
  const [of, word] = { term: ["terms", "loss"], weight: ["weights", "weight"] }[kind] ?? [];
  return (
    of && { series: name, label: `${plain(what)} ${word}`, panel: of, role: "utility", dash: "solid" }
  );
}

function traces() {
  const order = props.drawing.traces.map((trace) => trace.series);
  return [...series.keys()]
    .sort((a, b) => order.indexOf(a) - order.indexOf(b))
    .map((name) => ({ ...known(name), points: series.get(name) }))
    .filter((trace) => trace.panel === panel || trace.panel === "probe");
}

// A phase whose method has no such term leaves a gap, not a line from its neighbours.
function withGaps(points) {
  const missing = phases.filter(
    (phase) =>
      phase.state === "done" &&
      !points.x.some((x) => x > phase.first && x <= phase.first + phase.steps),
  );
  if (!missing.length) return points;
  const all = points.x.map((x, at) => [x, points.y[at]]);
  all.push(...missing.map((phase) => [phase.first + 0.5, null]));
  all.sort((a, b) => a[0] - b[0]);
  return { x: all.map((one) => one[0]), y: all.map((one) => one[1]) };
}

function plotted(trace) {
  const low = trace.panel === "probe";
  const few = trace.points.x.length < 40;
  const ofSteps = /^(term|weight)\./.test(trace.series);
  return {
    ...(ofSteps ? withGaps(trace.points) : trace.points),
    name: plain(trace.label),
    type: "scatter",
    mode: low || few ? "lines+markers" : "lines",
    marker: { size: low ? 5 : 4 },
    line: {
      color: `--${trace.role}`,
      width: 2,
      dash: trace.dash,
      shape: trace.panel === "weights" ? "hv" : "linear",
    },
    yaxis: low ? "y2" : trace.series === "learning_rate" ? "y3" : "y",
    visible: !hidden.has(trace.series),
    hovertemplate: "%{y:.4~g}",
    connectgaps: false,
  };
}

function layout(steps, waiting) {
  const fixed = props.drawing.layout;
  const logged = log && panel !== "weights"; // The weight of a climbed term is below zero.
  return {
    ...fixed,
    uirevision: `${run} ${panel} ${log}`,
    height: plotHeight(),
    margin: { l: LEFT, r: panel === "steps" ? 64 : 12, t: top(), b: 34 },
    dragmode: narrow() ? false : "zoom",
    xaxis: { ...fixed.xaxis, range: [0, Math.max(steps, 1)], showticklabels: steps > 0 },
    yaxis: {
      ...fixed.yaxis,
      type: logged ? "log" : "linear",
      title: props.drawing.panels.find((one) => one.name === panel).axis,
      rangemode: logged ? "normal" : "tozero",
      dtick: logged ? 1 : undefined,
      showticklabels: !waiting,
      range: waiting ? [0, 1] : undefined,
    },
    yaxis3: { ...fixed.yaxis3, visible: panel === "steps" },
    shapes: [
      ...bands(),
      ...phases.slice(1).map(({ first }) => line(first, above(BAND.gap), "--mute", 1, "dot")),
      ...changes.filter(happened).map(({ step }) => line(step, 1, "--membership", 1.5)),
    ],
    annotations: [
      ...(waiting ? [hint()] : []),
      ...bandLabels(),
      ...changes.filter(happened).map(changeMark),
    ],
  };
}

// ---- phases and changes over the curves ------------------------------------------------------

function several() {
  return phases.length > 1;
}

function narrow() {
  return element.clientWidth < 560;
}

function top() {
  return several() ? BAND.gap + BAND.height + 9 : 8;
}

function plotHeight() {
  if (document.body.classList.contains("present")) return 260;
  return (narrow() ? 340 : 380) + (several() ? top() - 8 : 0);
}

// Pixels above the plot as a share of its height, which is what Plotly takes.
function above(pixels) {
  return 1 + pixels / (plotHeight() - top() - 34);
}

function line(x, top, color, width, dash = "solid") {
  return { type: "line", x0: x, x1: x, y0: 0, y1: top, yref: "paper", line: { color, width, dash } };
}

function label(x, y, text, size, color, more = {}) {
  return { x, y, yref: "paper", text, showarrow: false, font: { size, color }, ...more };
}

function bands() {
  if (!several()) return [];
  const fill = { planned: "rgba(0,0,0,0)", running: "--ink", done: "--soft" };
  const edge = { planned: "--edge", running: "--ink", done: "--line" };
  return phases.map(({ first, steps, state }) => ({
    type: "rect",
    x0: first,
    x1: first + steps,
    y0: above(BAND.gap),
    y1: above(BAND.gap + BAND.height),
    yref: "paper",
    fillcolor: fill[state],
    line: { color: edge[state], width: 1, dash: state === "planned" ? "dot" : "solid" },
  }));
}

// A label stands in the middle of what is seen of its band, and is as long as it has room.
function bandLabels() {
  if (!several()) return [];
  const plot = element.querySelector(".plot");
  const drawn = plot.layout?.xaxis?.range?.map(Number) ?? [0, whole];
  const zoomed = drawn[0] !== 0 || drawn[1] !== whole;
  const seen = zoomed ? drawn : [0, last ? last.steps : 1];
  const pixels = (plot.clientWidth - LEFT - 12) / Math.max(seen[1] - seen[0], 1e-9);
  const ink = { planned: "--mute", running: "--page", done: "--ink-soft" };
  return phases.flatMap((phase, at) => {
    const from = Math.max(phase.first, seen[0]);
    const to = Math.min(phase.first + phase.steps, seen[1]);
    const room = (to - from) * pixels;
    if (room < 14) return [];
    const long = `${at + 1} · ${plain(phase.title)}`;
    const text = room > long.length * 6.4 + 8 ? long : String(at + 1);
    const hovertext = plain(`Phase ${at + 1}: ${phase.text} · ${phase.steps} steps`);
    const more = { yanchor: "middle", hovertext };
    return [label((from + to) / 2, above(BAND.gap + BAND.height / 2), text, 11.5, ink[phase.state], more)];
  });
}

function happened(change) {
  return change.step !== null;
}

function changeMark(change) {
  const hovertext = plain(`step ${change.step}: ${change.text}`);
  return label(change.step, 1, "◆", 14, "--membership", { yanchor: "top", hovertext });
}

function hint() {
  const text = last?.live ? "curves appear when training starts" : "nothing was measured";
  return label(0.5, 0.7, text, 13, "--mute", { xref: "paper" });
}

function draw() {
  const plot = element.querySelector(".plot");
  if (!window.Plotly || !window.Charts || plot.offsetParent === null) return;
  const drawn = traces();
  const waiting = drawn.length === 0;
  // An axis without a trace is not drawn: this one keeps the probe's in its place from the start.
  const empty = { x: [0], y: [null], yaxis: "y2", hoverinfo: "skip", showlegend: false };
  window.Charts.draw(plot, {
    data: [...drawn.map(plotted), empty],
    layout: layout(last ? last.steps : 0, waiting),
    name: `${run}-curves`,
    title: `Curves of run ${run}`,
    summary: summary(drawn),
    table: () => table(drawn),
  });
  whole = Math.max(last ? last.steps : 0, 1);
  if (!listening) {
    plot.on("plotly_relayout", () => (several() ? draw() : placeGrip()));
    plot.on("plotly_click", ({ points }) => said.size && lookAt(nearest(points[0].x)));
  }
  listening = true;
  placeGrip();
  legend(drawn);
}

function summary(drawn) {
  const latest = drawn.map(
    ({ label, points: { y } }) => `${label} ${Number(y.at(-1)).toPrecision(3)}`,
  );
  return latest.length ? `Latest: ${latest.join(", ")}` : "No points yet";
}

// A long run is thinned here: the server has every step.
async function table(drawn) {
  const { series: all, problem } = await server.all_run_points({ run });
  if (problem) throw new Error(problem);
  const rows = drawn.map(({ series }) => {
    const [xs, ys] = all[series] ?? [[], []];
    return xs.map((x, at) => [series, x, ys[at]]);
  });
  return [["series", "step", "value"], ...rows.flat()];
}

function legend(drawn) {
  const shown = drawn.map((trace) => [trace.series, hidden.has(trace.series)]);
  const focused = document.activeElement?.dataset?.series;
  const renewed = refill(part("legend"), shown, () => {
    const upper = drawn.filter((trace) => trace.panel !== "probe").map(legendButton);
    const lower = drawn.filter((trace) => trace.panel === "probe").map(legendButton);
    return [...upper, ...(lower.length ? [made("span", "", "Probe of a few rows:"), ...lower] : [])];
  });
  if (renewed && focused)
    part("legend").querySelector(`[data-series="${CSS.escape(focused)}"]`)?.focus();
}

function legendButton(trace) {
  const node = button("", "", { series: trace.series });
  node.setAttribute("aria-pressed", String(!hidden.has(trace.series)));
  node.append(made("i", `${trace.role} ${trace.dash}`), trace.label);
  node.addEventListener("click", () => {
    if (!hidden.delete(trace.series)) hidden.add(trace.series);
    draw();
  });
  return node;
}

// ---- the status line -------------------------------------------------------------------------

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
  const [before, trained, after] = status.progress;
  // A run that only scores has one stretch.
  const scoring = phases.length === 0;
  card.querySelector(".bars").classList.toggle("one", scoring);
  const now = scoring ? before : 0.2 * before + 0.6 * trained + 0.2 * after;
  progress(card, status.progress, now, status.headline);
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
      node.disabled = !on;
      return node;
    }),
  );
  if (renewed && focused) box.querySelector(`[data-press="${focused}"]`)?.focus();
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
  if (!pressed || pressed.disabled) return;
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
  const [before, trained, after] = found.status.progress;
  const percent = Math.round(100 * (0.2 * before + 0.6 * trained + 0.2 * after));
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
  fill(found.status);
  fillButtons(part("buttons"), found.run, found.buttons);
  tellEnd(found);
  fillReplay(found.replay);
  fillDocuments(found.documents);
  takeSaid(found.says);
  show("status", true);
  show("chart", found.live || series.size > 0);
  if (log === null) setLog(found.log);
  // Weights that stay as they were set are no news.
  const vary = [...series].some(
    ([name, { y }]) => name.startsWith("weight.") && y.some((value) => value !== y[0]),
  );
  segments.querySelector('[data-panel="weights"]').hidden = !vary;
  if (!vary && panel === "weights") choosePanel("terms");
}

// Quick while a prompt waits for its answers, or a replay runs perhaps many times as fast.
function pace() {
  const replayed = last?.replay?.take > 0 && !last.replay.held;
  if (replayed || document.querySelector("#asks .pending")) return FIRST_MS;
  return !last?.live ? IDLE_MS : series.size ? LIVE_MS : FIRST_MS;
}

// ---- controls of the chart -------------------------------------------------------------------

function setLog(on) {
  log = Boolean(on);
  part("log").setAttribute("aria-pressed", String(log));
}

function choosePanel(name) {
  panel = name;
  press(segments.children, (one) => one.dataset.panel === name);
  draw();
}

segments.replaceChildren(
  ...props.drawing.panels.map((one) => button("", one.label, { panel: one.name })),
);
press(segments.children, (one) => one.dataset.panel === panel);
segments.addEventListener("click", ({ target }) => {
  if (target.dataset.panel) choosePanel(target.dataset.panel);
});
part("log").addEventListener("click", () => {
  setLog(!log);
  draw();
});

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
