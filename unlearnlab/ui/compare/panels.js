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
let whole = false; // Whether the scoreboard waits for what takes longer to compute.
let at = 0; // The example.
let asked = null; // Runs that are asked; the first few until the reader chooses.
let waiting = [];

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
    const wanted = { runs: selected, ...Object.fromEntries(weighed), wait: whole, word: words.board };
    return server.render_board(wanted);
  },
  take(answer) {
    const waited = whole;
    whole = false;
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
    if (answer.series) offer(option("series"), answer.series);
    if (answer.by) offer(option("by"), answer.by);
    if (answer.masked !== undefined) option("masked").checked = answer.masked;
    if (answer.waiting) waiting = waiting.filter((one) => answer.waiting.includes(one.ask));
    redraw(part("panel"), answer.html);
  },
  pace: () => (waiting.length ? WAIT_MS : POLL_MS),
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
    revisit();
  });

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

part("ask").addEventListener("submit", async (event) => {
  event.preventDefault();
  const box = part("ask").querySelector("textarea");
  const prompt = box.value;
  const told = part("ask-told");
  told.textContent = "";
  try {
    const answer = await server.ask_runs({ runs: asking(), prompt });
    for (const [run, ask] of Object.entries(answer.asks ?? {})) waiting.push({ run, ask, prompt });
    answered(answer);
    box.value = "";
  } catch (error) {
    told.textContent = problemOf(error);
  }
  visit();
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
  if (act === "equal") {
    for (const one of weights) one.value = one.nextElementSibling.textContent = "1";
    pressed.hidden = true;
    board();
  }
  if (pick) choose(pick.split(","));
  if (to !== undefined) {
    at = Number(to);
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
