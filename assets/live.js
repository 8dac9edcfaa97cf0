// The live panel: asks for what is new, fills the status line, draws the chart.
// Runs as the body of a function of (element, trigger, props, server, watch).
// All text from the server goes through textContent: it may be a model's or a user's.

const part = (name) => element.querySelector(`[data-part="${name}"]`);
const LIVE_MS = 1000;
const FIRST_MS = 400; // Until the first point: the reader waits for it.
const IDLE_MS = 2500;
const ANSWER_MS = 10000;
const PATIENCE_MS = 15000;
const MANY_POINTS = 6000;

let run = null;
let cursor = 0;
let turnAsked = { word: "", at: 0 };
let opened = false;
let failures = 0;
let timer = null;
let asking = false;
let gone = 0;
let last = null;
let series = new Map();
let phases = [];
let panel = "terms";
let log = null;
let hidden = new Set();

// ---- what is drawn ---------------------------------------------------------------------------

function colour(name) {
  return getComputedStyle(element).getPropertyValue(`--${name}`).trim();
}

function plain(text) {
  return String(text).replace(/[<>&]/g, "");
}

function known(name) {
  const found = props.drawing.traces.find((trace) => trace.series === name);
  if (found) return found;
  const [kind, what] = name.split(".");
  if (kind === "term")
    return {
      series: name,
      label: `${plain(what)} loss`,
      panel: "terms",
      role: "utility",
      dash: "solid",
    };
  return null;
}

function traces() {
  const order = props.drawing.traces.map((trace) => trace.series);
  const names = [...series.keys()].sort((a, b) => order.indexOf(a) - order.indexOf(b));
  return names
    .map((name) => ({ ...known(name), points: series.get(name) }))
    .filter((trace) => trace.panel === panel || trace.panel === "probe");
}

function plotted(trace) {
  const low = trace.panel === "probe";
  const few = trace.points.x.length < 40;
  return {
    x: trace.points.x,
    y: trace.points.y,
    name: plain(trace.label),
    type: "scatter",
    mode: low || few ? "lines+markers" : "lines",
    marker: { size: low ? 5 : 4 },
    line: { color: colour(trace.role), width: 2, dash: trace.dash },
    yaxis: low ? "y2" : trace.series === "learning_rate" ? "y3" : "y",
    visible: !hidden.has(trace.series),
    hovertemplate: "%{y:.4~g}",
    connectgaps: false,
  };
}

function axis(more) {
  return {
    gridcolor: colour("line"),
    linecolor: colour("line"),
    zeroline: false,
    tickfont: { size: 11 },
    automargin: false,
    ...more,
  };
}

function layout(steps, waiting) {
  const narrow = element.clientWidth < 560;
  const upper = props.drawing.panels.find((one) => one.name === panel);
  const title = (text) => ({ text, font: { size: 11, color: colour("mute") }, standoff: 6 });
  return {
    uirevision: `${run} ${panel} ${log}`,
    height: narrow ? 340 : 380,
    margin: { l: 50, r: panel === "steps" ? 64 : 12, t: 8, b: 34 },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: getComputedStyle(element).fontFamily, size: 12, color: colour("mute") },
    showlegend: false,
    hovermode: "x unified",
    hoverlabel: {
      bgcolor: colour("card"),
      bordercolor: colour("line"),
      font: { color: colour("ink"), size: 12 },
    },
    dragmode: narrow ? false : "zoom",
    xaxis: axis({
      anchor: "y2",
      showgrid: false,
      range: [0, Math.max(steps, 1)],
      title: title("optimizer step"),
      hoverformat: "d",
      unifiedhovertitle: { text: "step %{x}" },
      showticklabels: steps > 0,
    }),
    yaxis: axis({
      domain: [0.4, 1],
      type: log ? "log" : "linear",
      title: title(upper.axis),
      rangemode: log ? "normal" : "tozero",
      tickformat: "~g",
      dtick: log ? 1 : undefined,
      nticks: 6,
      showticklabels: !waiting,
      range: waiting ? [0, 1] : undefined,
    }),
    yaxis2: axis({
      domain: [0, 0.3],
      range: [-0.04, 1.06],
      tickvals: [0, 0.5, 1],
      title: title("probe, share"),
    }),
    yaxis3: axis({
      overlaying: "y",
      anchor: "x",
      side: "right",
      showgrid: false,
      type: "linear",
      tickmode: "auto",
      rangemode: "tozero",
      tickformat: "~g",
      nticks: 5,
      visible: panel === "steps",
      title: title("learning rate"),
    }),
    shapes: phases.map((step) => ({
      type: "line",
      x0: step,
      x1: step,
      y0: 0,
      y1: 1,
      yref: "paper",
      line: { color: colour("mute"), width: 1, dash: "dot" },
    })),
    annotations: waiting
      ? [hint()]
      : phases.map((step, at) => ({
          x: step,
          y: 1,
          yref: "paper",
          xanchor: "left",
          xshift: 3,
          yanchor: "top",
          text: `phase ${at + 2}`,
          showarrow: false,
          font: { size: 11 },
        })),
  };
}

function hint() {
  const text =
    last && last.live ? "the curves begin with the training" : "nothing was measured";
  return {
    x: 0.5,
    y: 0.7,
    xref: "paper",
    yref: "paper",
    text,
    showarrow: false,
    font: { size: 13 },
  };
}

function draw() {
  const plot = element.querySelector(".plot");
  if (!window.Plotly || plot.offsetParent === null) return;
  const drawn = traces();
  const waiting = drawn.length === 0;
  // An axis without a trace is not drawn: this one keeps the probe's in its place from the start.
  const empty = { x: [0], y: [null], yaxis: "y2", hoverinfo: "skip", showlegend: false };
  const options = {
    displaylogo: false,
    responsive: true,
    displayModeBar: false,
    doubleClick: "reset",
  };
  window.Plotly.react(
    plot,
    [...drawn.map(plotted), empty],
    layout(last ? last.steps : 0, waiting),
    options,
  );
  legend(drawn);
  describe(plot, drawn);
}

function describe(plot, drawn) {
  const latest = drawn
    .filter((trace) => trace.points.y.length)
    .map((trace) => `${trace.label} ${Number(trace.points.y.at(-1)).toPrecision(3)}`);
  plot.setAttribute("role", "img");
  plot.setAttribute(
    "aria-label",
    latest.length ? `Latest: ${latest.join(", ")}` : "No points yet",
  );
}

function legend(drawn) {
  const box = part("legend");
  const signature = drawn.map((trace) => trace.series + hidden.has(trace.series)).join();
  if (box.dataset.of === signature) return;
  box.dataset.of = signature;
  const focused = document.activeElement?.dataset?.series;
  const upper = drawn.filter((trace) => trace.panel !== "probe").map(legendButton);
  const lower = drawn.filter((trace) => trace.panel === "probe").map(legendButton);
  const word = Object.assign(document.createElement("span"), {
    textContent: "Probe of a few rows:",
  });
  box.replaceChildren(...upper, ...(lower.length ? [word, ...lower] : []));
  if (focused) box.querySelector(`[data-series="${CSS.escape(focused)}"]`)?.focus();
}

function legendButton(trace) {
  const button = document.createElement("button");
  const swatch = document.createElement("i");
  swatch.className = `${trace.role} ${trace.dash}`;
  button.type = "button";
  button.dataset.series = trace.series;
  button.setAttribute("aria-pressed", String(!hidden.has(trace.series)));
  button.append(swatch, trace.label);
  button.addEventListener("click", () => {
    if (!hidden.delete(trace.series)) hidden.add(trace.series);
    draw();
  });
  return button;
}

// ---- the status line -------------------------------------------------------------------------

function show(name, visible) {
  part(name).hidden = !visible;
}

function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function fill(status) {
  const card = part("status");
  card.dataset.status = status.status;
  write(card.querySelector("h2"), status.title);
  write(card.querySelector(".pill"), status.status);
  const lines = card.querySelector(".run-settings");
  if (lines.dataset.of !== status.settings.join()) {
    lines.dataset.of = status.settings.join();
    lines.replaceChildren(
      ...status.settings.map((text) =>
        Object.assign(document.createElement("li"), { textContent: text }),
      ),
    );
  }
  write(part("headline"), status.headline);
  write(part("detail"), status.detail);
  write(part("facts"), status.facts.join("  ·  "));
  const bars = card.querySelector(".bars");
  const [before, trained, after] = status.progress;
  [...bars.querySelectorAll("u")].forEach(
    (bar, at) => (bar.style.width = `${100 * status.progress[at]}%`),
  );
  bars.setAttribute(
    "aria-valuenow",
    String(Math.round(100 * (0.2 * before + 0.6 * trained + 0.2 * after))),
  );
  bars.setAttribute("aria-label", status.headline);
  write(part("advice"), status.advice && `What to try: ${status.advice}`);
  show("advice", Boolean(status.advice));
}

function chip(id, text) {
  const node = document.getElementById(id);
  if (!node || !text) return;
  write(node, text);
  node.hidden = false;
}

// ---- asking ----------------------------------------------------------------------------------

function forget() {
  cursor = 0;
  last = null;
  series = new Map();
  phases = [];
}

function adopt() {
  const wanted = (props.value && props.value.run) || "";
  const chosen = opened && wanted !== run;
  opened = Boolean(props.value && props.value.turn);
  if (wanted === run) return;
  run = wanted;
  log = null;
  forget();
  show("empty", run === "");
  show("status", false);
  show("chart", false);
  if (chosen && element.getBoundingClientRect().top < 0)
    element.scrollIntoView({ behavior: "smooth" });
  if (chosen && window.innerWidth <= 860) element.scrollIntoView({ behavior: "smooth" });
}

function take(answer) {
  last = answer;
  cursor = answer.cursor;
  chip("chip-queue", answer.queue);
  chip("chip-device", answer.device);
  if (answer.run) {
    for (const [name, [xs, ys]] of Object.entries(answer.points.series)) {
      if (!known(name)) continue;
      const points = series.get(name) || { x: [], y: [] };
      points.x.push(...xs);
      points.y.push(...ys);
      series.set(name, points);
    }
    phases.push(...answer.points.phases);
    fill(answer.status);
    show("status", true);
    show("chart", answer.live || series.size > 0);
    if (log === null) setLog(answer.log);
  }
  if (answer.turn !== props.value.turn) turned(answer.turn, false);
  else if (mixed()) turned(`${answer.turn} whole`, true);
}

// Two answers that overtook each other can leave one run's scores under another run's name.
function mixed() {
  const scores = document.querySelector("#scoreboard [data-drawn]");
  return (scores?.dataset.drawn ?? "") !== (props.value.drawn ?? "");
}

// The rest of the page is drawn by the server; it is told once for every change.
function turned(word, whole) {
  const now = Date.now();
  if (turnAsked.word === word && now - turnAsked.at < 5000) return;
  turnAsked = { word, at: now };
  trigger("turned", { whole });
}

function tooMany() {
  return [...series.values()].some((points) => points.x.length > MANY_POINTS);
}

// After a laptop slept, a request may stay open for ever: it must not hold up the next one.
function inTime(answer) {
  const late = new Promise((_, refuse) =>
    setTimeout(() => refuse(new Error("late")), ANSWER_MS),
  );
  return Promise.race([answer, late]);
}

async function ask() {
  const of = run;
  if (tooMany()) forget();
  const from = cursor;
  const answer = await inTime(server.poll_run({ run: of, cursor: from }));
  if (of !== run || from !== cursor) return;
  if (!answer || (answer.problem === undefined && answer.turn === undefined))
    throw new Error("no answer");
  if (answer.problem) throw new Error(answer.problem, { cause: "store" });
  const fresh =
    from === 0 ||
    Object.keys(answer.points?.series || {}).length > 0 ||
    answer.steps !== last?.steps;
  take(answer);
  if (fresh && !part("chart").hidden) draw();
}

function visible() {
  return document.visibilityState === "visible" && element.offsetParent !== null;
}

async function round() {
  clearTimeout(timer);
  if (asking) return;
  // Gradio may take the panel out and put it back; once it is gone for good, so is the asking.
  gone = element.isConnected ? 0 : gone + 1;
  if (gone > 20) return;
  asking = true;
  try {
    // Until the page has opened, it is not known which run it shows.
    if (opened && visible()) await ask();
    failures = 0;
    show("lost", false);
  } catch (error) {
    failures += 1;
    write(
      part("lost"),
      error.cause === "store"
        ? `${error.message}. Retrying.`
        : "Connection lost, retrying. A running job goes on without this page.",
    );
    show("lost", true);
  } finally {
    asking = false;
  }
  const pace = !last?.live ? IDLE_MS : series.size ? LIVE_MS : FIRST_MS;
  timer = setTimeout(round, failures ? Math.min(PATIENCE_MS, pace * 2 ** failures) : pace);
}

function soon() {
  clearTimeout(timer);
  timer = setTimeout(round, 0);
}

// ---- controls of the chart -------------------------------------------------------------------

function setLog(on) {
  log = Boolean(on);
  part("log").setAttribute("aria-pressed", String(log));
}

function choosePanel(name) {
  panel = name;
  for (const button of element.querySelectorAll(".segments button")) {
    button.setAttribute("aria-pressed", String(button.dataset.panel === name));
  }
  draw();
}

element.querySelector(".segments").replaceChildren(
  ...props.drawing.panels.map((one) => {
    const button = Object.assign(document.createElement("button"), {
      type: "button",
      textContent: one.label,
    });
    button.dataset.panel = one.name;
    button.setAttribute("aria-pressed", String(one.name === panel));
    button.addEventListener("click", () => choosePanel(one.name));
    return button;
  }),
);
part("log").addEventListener("click", () => {
  setLog(!log);
  draw();
});

const repaint = new MutationObserver(() => draw());
repaint.observe(document.body, { attributes: true, attributeFilter: ["class"] });
repaint.observe(document.documentElement, { attributes: true, attributeFilter: ["class"] });
document.addEventListener("visibilitychange", soon);
new ResizeObserver(() => draw()).observe(element);
watch("value", () => {
  adopt();
  soon();
});
adopt();
soon();
