// What is compared of the selected runs: the scoreboard, and one panel at a time below it. The server
// draws both; here they are asked for, and what the reader chose to see is kept.
// Runs as the body of a function of (element, props, server).
const POLL_MS = 3000;
const WAIT_MS = 700;
const PATIENCE_MS = 120000; // Intervals of many runs take their time.
const PANEL_KEY = "room"; // In the address, where links of earlier versions have it.
const tablist = part("panels").querySelector('[role="tablist"]');
const tabs = [...tablist.querySelectorAll("button")];
const weights = [...element.querySelectorAll("[data-weight]")];
const address = new URLSearchParams(location.search);

let selected = (address.get("compare") || "").split(",").filter(Boolean);
let runs = []; // Ids on the scoreboard.
let panel = tabs.find((tab) => tab.dataset.panel === address.get(PANEL_KEY))?.dataset.panel ?? "charts";
let words = { board: "", panel: "" };
let whole = false; // Whether the next scoreboard waits for what takes longer to compute.
let waited = false; // Whether the latest one did.
let at = 0; // The example.
let asked = null; // Runs that are asked; the first few until the reader chooses.
let waiting = [];
let pending = 0; // Runs whose measures are still being computed.
let pair = { first: "", second: "", page: 0 }; // The two runs of a contrast, and its page of rows.
let axes = []; // Keys of the axes that the reader chose; the usual ones if empty.

const option = (name) => element.querySelector(`[data-option="${name}"]`);

const polled = {
  pace: () => POLL_MS,
  seen: () => element.offsetParent !== null && selected.length > 0,
  needs: ["same", "html"],
  patience: PATIENCE_MS,
};

// ---- the scoreboard

const board = poll({
  ...polled,
  request() {
    const weighed = weights.map((one) => [one.dataset.weight, Number(one.value)]);
    // Once: after a failure or for another selection, what is known already comes first.
    waited = whole;
    whole = false;
    const wanted = { runs: selected, ...Object.fromEntries(weighed), wait: waited, word: words.board };
    return server.render_board(wanted);
  },
  take(answer) {
    if (answer.same) return;
    words.board = answer.word;
    runs = answer.runs;
    redraw(part("scores"), answer.html);
    part("utility").textContent = answer.utility;
    part("asked").innerHTML = answer.asked;
    limitAsked();
    if (!answer.pending || waited) return;
    whole = true;
    board();
  },
});

for (const one of weights)
  one.addEventListener("input", () => {
    one.nextElementSibling.textContent = one.value;
    const equal = new Set(weights.map((of) => of.value)).size === 1;
    element.querySelector('[data-act="equal"]').hidden = equal;
    board();
  });

// ---- the panels

function showTab() {
  for (const tab of tabs) {
    const here = tab.dataset.panel === panel;
    tab.setAttribute("aria-selected", String(here));
    tab.setAttribute("aria-pressed", String(here));
    tab.tabIndex = here ? 0 : -1;
  }
  for (const one of element.querySelectorAll("[data-for]"))
    one.hidden = !one.dataset.for.split(" ").includes(panel);
}

function open(name) {
  panel = name;
  part("panel").replaceChildren();
  const url = new URL(location.href);
  url.searchParams.set(PANEL_KEY, name);
  history.replaceState(history.state, "", url.href.replaceAll("%2C", ","));
  showTab();
  revisit();
}

const visit = poll({
  ...polled,
  request: () =>
    server.render_compare_panel({
      panel,
      runs: selected,
      series: option("series").value,
      by: option("by").value || "step",
      smooth: option("smooth").checked,
      log: option("log").checked,
      across: option("across").value,
      whole: option("whole").checked,
      axes,
      contrast: { ...pair, which: option("which").value },
      example: {
        ...Object.fromEntries(["split", "task", "kind", "text"].map((one) => [one, option(one).value])),
        at,
        masked: option("masked").dataset.chosen ? option("masked").checked : null,
      },
      asked: asking(),
      waiting,
      word: words.panel,
    }),
  take(answer) {
    if (answer.same) return;
    words.panel = answer.word;
    pending = answer.pending ?? 0;
    if (answer.series) offer(option("series"), answer.series);
    if (answer.by) offer(option("by"), answer.by);
    if (answer.axes) showAxes(answer);
    if (answer.pair) showPair(answer.pair);
    if (answer.masked !== undefined) option("masked").checked = answer.masked;
    if (answer.waiting) waiting = waiting.filter((one) => answer.waiting.includes(one.ask));
    redraw(part("panel"), answer.html);
  },
  pace: () => (waiting.length || pending ? WAIT_MS : POLL_MS),
});

// The chart of curves is thinned: its file has every point.
window.Charts.whole.set("compare-curves", async () => {
  const { rows, problem } = await server.fetch_curve_rows({
    panel: "charts",
    runs: selected,
    series: option("series").value,
    by: option("by").value || "step",
    smooth: option("smooth").checked,
  });
  if (problem) throw new Error(problem);
  return rows;
});

function revisit() {
  words.panel = "";
  visit();
}

tablist.addEventListener("click", (event) => {
  const tab = event.target.closest("button");
  if (tab) open(tab.dataset.panel);
});
tablist.addEventListener("keydown", (event) => {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!step) return;
  const here = tabs.findIndex((tab) => tab.dataset.panel === panel);
  const next = tabs[(here + step + tabs.length) % tabs.length];
  next.focus();
  open(next.dataset.panel);
});

for (const one of element.querySelectorAll("[data-option]"))
  one.addEventListener(one.type === "search" ? "input" : "change", () => {
    if (one.dataset.option === "masked") one.dataset.chosen = "yes";
    else if (one.closest('[data-for="answers"]')) at = 0;
    if (one.dataset.option === "which") pair.page = 0;
    revisit();
  });

// ---- two runs side by side

function showPair({ runs: offered, first, second, page }) {
  pair = { first, second, page };
  for (const side of ["first", "second"]) {
    offer(part(side), offered);
    part(side).value = pair[side];
  }
}

for (const side of ["first", "second"])
  part(side).addEventListener("change", () => {
    const other = side === "first" ? "second" : "first";
    // The same run twice: the two change places.
    if (part(side).value === pair[other]) pair[other] = pair[side];
    pair = { ...pair, [side]: part(side).value, page: 0 };
    revisit();
  });

// ---- the axes of the parallel coordinates

let shownAxes = [];

function showAxes({ axes: shown, more }) {
  shownAxes = shown.map(([key]) => key);
  refill(part("axes"), shown, () =>
    shown.map(([key, title], at) => {
      const item = made("li");
      const move = (sign, words, by) => {
        const node = button("icon", sign, { axis: key, by });
        node.setAttribute("aria-label", `${words} ${title}`);
        node.dataset.key = `${by}-${key}`;
        node.disabled = at + by < 0 || at + by >= shown.length;
        return node;
      };
      item.append(move("‹", "Move left:", -1), made("span", "", title), move("›", "Move right:", 1));
      item.append(Object.assign(move("✕", "Leave out", 0), { disabled: shown.length < 3 }));
      return item;
    }),
  );
  refill(part("more"), more, () => [
    new Option("add an axis", ""),
    ...Object.entries(more).map(([title, offered]) => {
      const group = Object.assign(made("optgroup"), { label: title });
      group.append(...offered.map(([key, words]) => new Option(words, key)));
      return group;
    }),
  ]);
}

function chooseAxes(keys) {
  axes = keys;
  revisit();
}

part("more").addEventListener("change", () => {
  if (part("more").value) chooseAxes([...shownAxes, part("more").value]);
});
part("axes").addEventListener("click", (event) => {
  const { axis, by, key: focus } = event.target.dataset;
  if (!axis) return;
  const at = shownAxes.indexOf(axis);
  const rest = shownAxes.filter((key) => key !== axis);
  chooseAxes(by === "0" ? rest : rest.toSpliced(at + Number(by), 0, axis));
  const back = () => part("axes").querySelector(`[data-key="${CSS.escape(focus)}"]`)?.focus();
  setTimeout(back, 400);
});

// A drag along an axis becomes a part of the list's query, one for each axis; a click on the axis
// takes it back.
function brushQuery({ key, low: bottom, high: top, log, choices }, [low, high]) {
  if (choices.length) {
    const inside = choices.filter(([place]) => place >= low && place <= high);
    const values = inside.map(([, value]) => (value === "–" ? "none" : `"${value.replaceAll('"', "")}"`));
    return values.length ? `${key}=${values.join(",")}` : "";
  }
  const at = (share) => (log ? bottom * (top / bottom) ** share : bottom + share * (top - bottom));
  // As many digits as tell the ends of the axis apart.
  const most = Math.max(Math.abs(bottom), Math.abs(top));
  const digits = 3 + (log ? 0 : Math.ceil(Math.log10(most / (top - bottom))));
  const written = (share) => Number(at(share).toPrecision(Math.max(3, digits))).toString();
  return `${key}:${low <= 0 ? "" : written(low)}..${high >= 1 ? "" : written(high)}`;
}

function followBrush(plot) {
  if (plot.dataset.brushed) return;
  plot.dataset.brushed = "yes";
  const shapes = plot.layout.shapes;
  const stretches = new Map(); // By number of the axis: its lower and upper end.
  let from = null;

  function place({ clientX, clientY }) {
    const { left, top } = plot.getBoundingClientRect();
    const { xaxis, yaxis, _size: size } = plot._fullLayout;
    const y = yaxis.p2l(clientY - top - size.t);
    return { x: xaxis.p2l(clientX - left - size.l), y: Math.min(1, Math.max(0, y)) };
  }

  function draw() {
    const colour = window.Charts.colour(plot, "ink");
    const drawn = [...stretches].map(([at, [y0, y1]]) => ({
      type: "rect",
      ...{ x0: at - 0.06, x1: at + 0.06, y0, y1 },
      line: { color: colour, width: 1 },
      fillcolor: colour,
      opacity: 0.22,
    }));
    window.Plotly.relayout(plot, { shapes: [...shapes, ...drawn] });
  }

  function filter() {
    const passes = ({ y }) =>
      [...stretches].every(([at, [low, high]]) => y[at] !== null && y[at] >= low && y[at] <= high);
    window.Plotly.restyle(plot, { opacity: plot.data.map((line) => (passes(line) ? 1 : 0.12)) });
    const { axes: of } = plot.layout.meta;
    const parts = [...stretches].map(([at, ends]) => brushQuery(of[at], ends));
    const detail = parts.filter(Boolean).join(" ");
    document.dispatchEvent(new CustomEvent("compare-brush", { detail }));
  }

  plot.addEventListener("pointerdown", (event) => {
    const { x, y } = place(event);
    const at = Math.round(x);
    if (event.pointerType === "touch" || Math.abs(x - at) > 0.3) return;
    if (!plot.layout.meta.axes[at]) return;
    from = { at, y };
    plot.setPointerCapture(event.pointerId);
  });
  plot.addEventListener("pointermove", (event) => {
    if (!from) return;
    const { y } = place(event);
    stretches.set(from.at, [Math.min(from.y, y), Math.max(from.y, y)]);
    draw();
  });
  plot.addEventListener("pointerup", (event) => {
    if (!from) return;
    if (Math.abs(place(event).y - from.y) < 0.02) stretches.delete(from.at);
    from = null;
    draw();
    filter();
  });
}

// A figure is drawn some time after it is put on the page.
new MutationObserver(() => {
  for (const plot of part("panel").querySelectorAll(".js-plotly-plot"))
    if (plot.layout?.meta?.axes) followBrush(plot);
}).observe(part("panel"), { childList: true, subtree: true, attributes: true });

// ---- free prompts

const mostAsked = Number(part("asked").dataset.most);

function asking() {
  return (asked ?? runs).filter((id) => selected.includes(id)).slice(0, mostAsked);
}

function limitAsked() {
  const chosen = asking();
  for (const box of part("asked").querySelectorAll("input")) {
    box.checked = chosen.includes(box.value);
    box.disabled = chosen.length >= mostAsked && !box.checked;
  }
}

part("asked").addEventListener("change", () => {
  asked = [...part("asked").querySelectorAll("input:checked")].map((box) => box.value);
  limitAsked();
  visit();
});

async function askRuns(question) {
  const told = part("ask-told");
  told.textContent = "";
  try {
    const answer = await server.ask_runs({ runs: asking(), ...question });
    for (const [run, ask] of Object.entries(answer.asks ?? {}))
      waiting.push({ run, ask, prompt: answer.prompt });
    answered(answer);
    visit();
    return true;
  } catch (error) {
    told.textContent = problemOf(error);
    visit();
    return false;
  }
}

part("ask").addEventListener("submit", async (event) => {
  event.preventDefault();
  const box = part("ask").querySelector("textarea");
  const prompt = box.value;
  if ((await askRuns({ prompt })) && box.value === prompt) box.value = "";
});
part("ask").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey) return;
  event.preventDefault();
  part("ask").requestSubmit();
});

// ---- what is pressed in what the server drew

element.addEventListener("click", (event) => {
  const pressed = event.target.closest("button");
  if (!pressed || pressed.disabled) return;
  const { drop, at: to, act, pick } = pressed.dataset;
  if (drop) choose(selected.filter((id) => id !== drop));
  if (act === "known") choose(runs);
  if (act === "usual-axes") chooseAxes([]);
  if (pressed.dataset.group !== undefined) {
    const rows = pressed.closest("tbody").nextElementSibling;
    rows.hidden = !rows.hidden;
    pressed.setAttribute("aria-expanded", String(!rows.hidden));
  }
  if (act === "equal") {
    for (const one of weights) one.value = one.nextElementSibling.textContent = "1";
    pressed.hidden = true;
    board();
  }
  if (pick) choose(pick.split(","));
  if (pressed.dataset.row) askRuns({ row: pressed.dataset.row });
  if (to !== undefined) {
    if (panel === "contrast") pair.page = Number(to);
    else at = Number(to);
    revisit();
  }
});

// The list of runs keeps the selection; it tells when it has changed.
function choose(ids) {
  document.dispatchEvent(new CustomEvent("compare-select", { detail: ids }));
}

function reselect() {
  const none = selected.length === 0;
  show("empty", none);
  show("board", !none);
  show("panels", !none);
  if (none) {
    part("scores").replaceChildren();
    part("panel").replaceChildren();
    words = { board: "", panel: "" };
    runs = [];
    return;
  }
  board();
  visit();
}

document.addEventListener("compare", (event) => {
  // What was revealed of some runs is not revealed of others.
  if (event.detail.some((id) => !selected.includes(id))) delete option("masked").dataset.chosen;
  selected = event.detail;
  reselect();
});
document.addEventListener("compare-suggested", (event) => {
  const offered = Object.entries(event.detail);
  refill(part("suggested"), offered, () =>
    offered.map(([title, ids]) => button("quiet", title, { pick: ids.join(",") })),
  );
});

showTab();
reselect();
