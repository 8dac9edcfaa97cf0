// The curves of a run: what is drawn of it, against what, and the controls of the chart. Stands
// before live.js, whose `run`, `last`, `series`, `phases` and `changes` it draws.

const LEFT = 64; // Room for five digits beside the title of the axis, in pixels.
const ROOM = 116; // For the names at the ends of the lines, in pixels.
const BAND = { gap: 7, height: 20 }; // Of the phases above the plot, in pixels.
const SMOOTHED = 60; // Points from which a line is drawn smoothed over what was measured.
const NAMES_APART = 15; // Least distance of two names, in pixels.

const CHART = "unlearnlab-chart"; // What the reader chose for it last, in this browser.
const chosen = JSON.parse(localStorage.getItem(CHART) || "{}");

let panel = props.drawing.panels.find((one) => one.name === chosen.panel)?.name ?? "terms";
let log = null; // Until the run tells what suits it.
let hidden = new Set();
const segments = element.querySelector(".chart-head .segments");
let listening = false;
let whole = 1; // Where the axis ended when it was drawn, unless the reader has zoomed.
let references = {}; // Of the retrained model, by series.
let below = null; // An earlier run that lies under this one: {run, title, series, pace}.

// ---- the horizontal axis ---------------------------------------------------------------------

const AXES = { step: "optimizer step", epoch: "epoch", seconds: "seconds since the first step", tokens: "tokens, about" };
const NO_PACE = () => ({ step: [0], epoch: [0], seconds: [0], tokens: [0], before: 0, ofPhase: 0 });
let timeline = NO_PACE();
let by = chosen.by in AXES ? chosen.by : "step"; // What the axis counts.

function forgetPace() {
  timeline = NO_PACE();
}

function takePace(found) {
  went(timeline, found);
}

// The server tells tokens by the second; how many there were until a step follows from its time.
// Epochs begin anew with each phase, seconds with the scoring before.
function went(sofar, found) {
  found.step.forEach((step, at) => {
    sofar.began ??= found.seconds[at];
    const seconds = found.seconds[at] - sofar.began;
    const spent = Math.max(0, seconds - sofar.seconds.at(-1));
    if (found.epoch[at] < sofar.ofPhase) sofar.before += sofar.ofPhase;
    sofar.ofPhase = found.epoch[at];
    sofar.tokens.push(sofar.tokens.at(-1) + spent * found.tokens[at]);
    sofar.step.push(step);
    sofar.epoch.push(sofar.before + sofar.ofPhase);
    sofar.seconds.push(seconds);
  });
  return sofar;
}

// Where `value` of `from` lies in `to`: between two steps in proportion, beyond the last as before.
function along(value, from, to) {
  if (from.length < 2) return value;
  let high = from.findIndex((one) => one >= value);
  if (high === 0) return to[0];
  const beyond = high < 0;
  if (beyond) high = from.length - 1;
  const low = beyond ? 0 : high - 1;
  const share = (value - from[low]) / Math.max(1e-9, from[high] - from[low]);
  return to[low] + share * (to[high] - to[low]);
}

function xOf(step, of = timeline) {
  return by === "step" || step === null ? step : along(step, of.step, of[by]);
}

function stepOf(x) {
  return by === "step" ? x : along(x, timeline[by], timeline.step);
}

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

// A mean over neighbours, as wide as a fortieth of the line; gaps stay.
function smoothed(values) {
  const reach = Math.max(2, Math.round(values.length / 40));
  return values.map((value, at) => {
    if (value === null) return null;
    const near = values.slice(Math.max(0, at - reach), at + reach + 1).filter((one) => one !== null);
    return near.reduce((sum, one) => sum + one, 0) / near.length;
  });
}

function axisOf(trace) {
  return trace.panel === "probe" ? "y2" : trace.series === "learning_rate" ? "y3" : "y";
}

function isSmoothed(trace) {
  return /^term\.|^grad_norm/.test(trace.series) && trace.points.x.length >= SMOOTHED;
}

// What was measured is faint where a smoothed line lies over it.
function plotted(trace) {
  const low = trace.panel === "probe";
  const few = trace.points.x.length < 40;
  const points = /^(term|weight)\./.test(trace.series) ? withGaps(trace.points) : trace.points;
  const x = points.x.map((step) => xOf(step));
  const bold = {
    x,
    y: points.y,
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
    yaxis: axisOf(trace),
    visible: !hidden.has(trace.series),
    hovertemplate: "%{y:.4~g}",
    connectgaps: false,
  };
  if (!isSmoothed(trace)) return [bold];
  const raw = { ...bold, line: { ...bold.line, color: `--${trace.role}/0.28`, width: 1 } };
  const over = { ...bold, y: smoothed(points.y), hoverinfo: "skip", line: { ...bold.line, width: 2.6 } };
  return [raw, over];
}

// An earlier run, thin and grey under this one.
function underlaid() {
  if (!below) return [];
  return Object.entries(below.series)
    .map(([name, [x, y]]) => ({ ...known(name), x, y }))
    .filter((trace) => (trace.panel === panel || trace.panel === "probe") && series.has(trace.series))
    .map((trace) => ({
      x: trace.x.map((step) => xOf(step, below.pace)),
      y: /^term\./.test(trace.series) && trace.y.length >= SMOOTHED ? smoothed(trace.y) : trace.y,
      name: `${plain(below.title)}: ${plain(trace.label)}`,
      type: "scatter",
      mode: "lines",
      line: { color: `--${trace.role}/0.45`, width: 1.5, dash: "dashdot" },
      yaxis: axisOf(trace),
      visible: !hidden.has(trace.series),
      hovertemplate: "%{y:.4~g}<extra>%{fullData.name}</extra>",
    }));
}

// The end of an axis of losses: it grows by half at a time, so that the lines do not creep.
function endOf(drawn) {
  const upper = drawn.filter((trace) => trace.panel === panel && !hidden.has(trace.series));
  const values = [
    ...upper.flatMap((trace) => (isSmoothed(trace) ? smoothed(trace.points.y) : trace.points.y)),
    ...(panel === "answers" ? upper.map((trace) => references[trace.series]) : []),
    ...underlaid().flatMap((trace) => (trace.yaxis === "y" && trace.visible ? trace.y : [])),
  ].filter(Number.isFinite);
  const [low, high] = [Math.min(0, ...values), Math.max(0, ...values)];
  let end = 1.5;
  while (end < high * 1.04) end *= 1.5;
  return [low * 1.05, end];
}

function level(y, color, text) {
  return [
    { type: "line", xref: "paper", x0: 0, x1: 1, y0: y, y1: y, line: { color, width: 1, dash: "dot" } },
    { xref: "paper", x: 0, xanchor: "left", y, yanchor: "bottom", text, showarrow: false, font: { size: 11, color } },
  ];
}

// Where the answers' loss began, and where a model lies that never saw the forget set.
function levels(drawn) {
  if (panel !== "answers" || log) return [];
  return drawn
    .filter((trace) => trace.panel === "answers" && !hidden.has(trace.series))
    .flatMap((trace) => {
      const first = trace.points.y[0];
      const ideal = references[trace.series];
      return [
        ...(trace.points.x[0] === 0 && first !== null ? [level(first, `--${trace.role}/0.6`, "before")] : []),
        ...(ideal === undefined ? [] : [level(ideal, `--${trace.role}`, `retrained model, ${trace.role}`)]),
      ];
    });
}

// Names at the ends of the upper lines, pushed apart where they would lie over one another.
function namesAtEnds(drawn, range) {
  if (narrow()) return [];
  const scale = (y) => (log && panel !== "weights" ? Math.log10(Math.max(y, 1e-9)) : y);
  const ends = drawn
    .filter((trace) => trace.panel === panel && trace.series !== "learning_rate" && !hidden.has(trace.series))
    .map((trace) => {
      const y = isSmoothed(trace) ? smoothed(trace.points.y) : trace.points.y;
      return { trace, x: xOf(trace.points.x.at(-1)), y: y.at(-1) };
    })
    .filter(({ y }) => y !== null && y !== undefined)
    .sort((one, other) => one.y - other.y);
  const values = ends.map(({ y }) => scale(y));
  const span = range ? range[1] - range[0] : Math.max(1, Math.max(...values) - Math.min(...values));
  const apart = (NAMES_APART * span) / (0.62 * (plotHeight() - top() - 34));
  let least = -Infinity;
  return ends.map(({ trace, x, y }) => {
    least = Math.max(scale(y), least + apart);
    const font = { size: 13, color: `--${trace.role}` };
    return { x, y: least, xanchor: "left", xshift: 7, text: `<b>${plain(trace.label)}</b>`, showarrow: false, font };
  });
}

function layout(steps, waiting, drawn) {
  const fixed = props.drawing.layout;
  const logged = log && panel !== "weights"; // The weight of a climbed term is below zero.
  const losses = ["terms", "answers"].includes(panel) && !logged && !waiting;
  const range = waiting ? [0, 1] : losses ? endOf(drawn) : undefined;
  const lines = waiting ? [] : levels(drawn);
  const few = by === "step" && steps > 0 && steps < 10;
  return {
    ...fixed,
    uirevision: `${run} ${panel} ${log} ${by}`,
    height: plotHeight(),
    margin: { l: LEFT, r: narrow() ? 12 : ROOM, t: top(), b: 34 },
    dragmode: narrow() ? false : "zoom",
    xaxis: {
      ...fixed.xaxis,
      title: AXES[by],
      hoverformat: by === "step" ? "d" : ".3~s",
      unifiedhovertitle: { text: `${by} %{x}` },
      range: [0, Math.max(xOf(steps), by === "step" ? 1 : 1e-3)],
      showticklabels: steps > 0,
      ...(by === "step" ? { tickformat: "d", dtick: few ? 1 : undefined } : {}),
    },
    yaxis: {
      ...fixed.yaxis,
      type: logged ? "log" : "linear",
      title: props.drawing.panels.find((one) => one.name === panel).axis,
      rangemode: logged ? "normal" : "tozero",
      dtick: logged ? 1 : undefined,
      showticklabels: !waiting,
      range,
    },
    yaxis3: { ...fixed.yaxis3, visible: panel === "steps" },
    shapes: [
      ...bands(),
      ...phases.slice(1).map(({ first }) => line(xOf(first), above(BAND.gap), "--mute", 1, "dot")),
      ...changes.filter(happened).map(({ step }) => line(xOf(step), 1, "--membership", 1.5)),
      ...lines.map(([shape]) => shape),
    ],
    annotations: [
      ...(waiting ? [hint()] : namesAtEnds(drawn, range)),
      ...lines.map(([, name]) => name),
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
  if (document.body.classList.contains("present")) return 184;
  return (narrow() ? 320 : 300) + (several() ? top() - 8 : 0);
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
    x0: xOf(first),
    x1: xOf(first + steps),
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
  const seen = zoomed ? drawn : [0, last ? xOf(last.steps) : 1];
  const pixels = (plot.clientWidth - LEFT - (narrow() ? 12 : ROOM)) / Math.max(seen[1] - seen[0], 1e-9);
  const ink = { planned: "--mute", running: "--page", done: "--ink-soft" };
  return phases.flatMap((phase, at) => {
    const from = Math.max(xOf(phase.first), seen[0]);
    const to = Math.min(xOf(phase.first + phase.steps), seen[1]);
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
  return label(xOf(change.step), 1, "◆", 14, "--membership", { yanchor: "top", hovertext });
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
    data: [...underlaid(), ...drawn.flatMap(plotted), empty],
    layout: layout(last ? last.steps : 0, waiting, drawn),
    name: `${run}-curves`,
    title: `Curves of run ${run}`,
    summary: summary(drawn),
    table: () => table(drawn),
  });
  whole = Math.max(last ? xOf(last.steps) : 0, 1);
  if (!listening) {
    plot.on("plotly_relayout", () => (several() ? draw() : placeGrip()));
    plot.on("plotly_click", ({ points }) => said.size && lookAt(nearest(stepOf(points[0].x))));
  }
  listening = true;
  placeGrip();
  legend(drawn);
}

function summary(drawn) {
  const latest = drawn.map(({ label, points: { y } }) => {
    const last = y.at(-1) ?? null;
    return `${label} ${last === null ? "not a number" : Number(last).toPrecision(3)}`;
  });
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
    return [...upper, ...(lower.length ? [made("span", "", "Probe:"), ...lower] : [])];
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

// ---- controls of the chart -------------------------------------------------------------------

function setLog(on) {
  log = Boolean(on);
  part("log").setAttribute("aria-pressed", String(log));
}

function remember(choice) {
  localStorage.setItem(CHART, JSON.stringify(Object.assign(chosen, choice)));
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
  if (!target.dataset.panel) return;
  choosePanel(target.dataset.panel);
  remember({ panel });
});
part("log").addEventListener("click", () => {
  setLog(!log);
  remember({ log });
  draw();
});

const axes = part("by");
axes.replaceChildren(...Object.keys(AXES).map((name) => button("", name, { by: name })));
press(axes.children, (one) => one.dataset.by === by);
axes.addEventListener("click", ({ target }) => {
  if (!target.dataset.by) return;
  by = target.dataset.by;
  press(axes.children, (one) => one.dataset.by === by);
  remember({ by });
  draw();
});

// ---- an earlier run under this one -----------------------------------------------------------

const under = part("under");

function layUnder(found) {
  below = found;
  under.value = found?.run ?? "";
}

async function offerEarlier() {
  const { runs = [] } = await server.earlier({ run }).catch(() => ({})); // The poll tells of it.
  offer(under, [["", "no earlier run"], ...runs.map(({ run: id, title }) => [id, title])]);
}

under.addEventListener("focus", offerEarlier);
under.addEventListener("pointerenter", offerEarlier);
under.addEventListener("change", async () => {
  const [id, title] = [under.value, under.selectedOptions[0]?.textContent ?? ""];
  const asked = id ? server.all_run_points({ run: id }) : null;
  try {
    const found = asked && answered(await asked, ["series"]);
    if (under.value !== id) return;
    layUnder(found && { run: id, title, series: found.series, pace: went(NO_PACE(), found.pace) });
  } catch (error) {
    layUnder(null);
    tellLost(problemOf(error));
  }
  draw();
});
