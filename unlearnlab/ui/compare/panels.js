// What is compared of the selected runs: the scoreboard, and one room at a time below it. The server
// draws both; here they are asked for, and what the reader chose to see is kept.
// Runs as the body of a function of (element, props, server).
const POLL_MS = 3000;
const WAIT_MS = 700;
const PATIENCE_MS = 120000; // Intervals of many runs take their time.
const ROOM_KEY = "room";
const tablist = part("rooms").querySelector('[role="tablist"]');
const tabs = [...tablist.querySelectorAll("button")];
const controls = [...element.querySelectorAll("[data-for]")];
const weights = [...element.querySelectorAll("[data-weight]")];
const address = new URLSearchParams(location.search);

let selected = (address.get("compare") || "").split(",").filter(Boolean);
let runs = []; // Of the scoreboard: id, label, colour.
let room = tabs.some((tab) => tab.dataset.room === address.get(ROOM_KEY))
  ? address.get(ROOM_KEY)
  : "charts";
let words = { board: "", room: "" };
let whole = false; // Whether the scoreboard waits for what takes longer to compute.
let at = 0; // The example.
let asked = null; // Runs that are asked; the first few until the reader chooses.
let waiting = [];

const value = (name) => element.querySelector(`[data-option="${name}"]`);

// ---- the scoreboard

const weighed = () =>
  Object.fromEntries(weights.map((one) => [one.dataset.weight, Number(one.value)]));

const board = poll({
  request: () => server.draw_board({ runs: selected, ...weighed(), wait: whole, word: words.board }),
  take(answer) {
    const waited = whole;
    whole = false;
    if (answer.same) return;
    words.board = answer.word;
    runs = answer.runs;
    place(part("scores"), answer.html);
    part("utility").textContent = answer.utility;
    choices();
    if (!answer.pending || waited) return;
    whole = true;
    board();
  },
  pace: () => POLL_MS,
  seen,
  needs: ["same", "html"],
  patience: PATIENCE_MS,
});

function seen() {
  return element.offsetParent !== null && selected.length > 0;
}

function place(box, html) {
  redraw(box, html, () => paint(box));
}

function paint(box) {
  for (const dot of box.querySelectorAll(".dot[data-of]")) {
    const run = runs.find((one) => one.run === dot.dataset.of);
    if (run) dot.style.setProperty("--run", `var(${run.colour})`);
  }
}

for (const one of weights)
  one.addEventListener("input", () => {
    one.nextElementSibling.textContent = one.value;
    const equal = new Set(weights.map((of) => of.value)).size === 1;
    element.querySelector('[data-act="equal"]').hidden = equal;
    board();
  });

// ---- the rooms

function shows() {
  for (const tab of tabs) {
    const here = tab.dataset.room === room;
    tab.setAttribute("aria-selected", String(here));
    tab.setAttribute("aria-pressed", String(here));
    tab.tabIndex = here ? 0 : -1;
  }
  for (const one of controls) one.hidden = !one.dataset.for.split(" ").includes(room);
}

function open(name) {
  room = name;
  part("room").replaceChildren();
  const url = new URL(location.href);
  url.searchParams.set(ROOM_KEY, name);
  history.replaceState(history.state, "", url.href.replaceAll("%2C", ","));
  shows();
  revisit();
}

function wish() {
  const masked = value("masked").dataset.chosen ? value("masked").checked : null;
  return {
    room,
    runs: selected,
    series: value("series").value,
    by: value("by").value || "step",
    smooth: value("smooth").checked,
    log: value("log").checked,
    across: value("across").value,
    example: {
      split: value("split").value,
      task: value("task").value,
      kind: value("kind").value,
      text: value("text").value,
      at,
      masked,
    },
    asked: asking(),
    waiting,
    word: words.room,
  };
}

const visit = poll({
  request: () => server.draw_room(wish()),
  take(answer) {
    if (answer.same) return;
    words.room = answer.word;
    if (answer.series) offer(value("series"), answer.series);
    if (answer.by) offer(value("by"), answer.by);
    if (answer.masked !== undefined) value("masked").checked = answer.masked;
    if (answer.waiting) waiting = waiting.filter((one) => answer.waiting.includes(one.ask));
    place(part("room"), answer.html);
  },
  pace: () => (waiting.length ? WAIT_MS : POLL_MS),
  seen,
  needs: ["same", "html"],
  patience: PATIENCE_MS,
});

function revisit() {
  words.room = "";
  visit();
}

tablist.addEventListener("click", (event) => {
  const tab = event.target.closest("button");
  if (tab) open(tab.dataset.room);
});
tablist.addEventListener("keydown", (event) => {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!step) return;
  const next = tabs[(tabs.findIndex((tab) => tab.dataset.room === room) + step + tabs.length) % tabs.length];
  next.focus();
  open(next.dataset.room);
});

for (const one of element.querySelectorAll("[data-option]"))
  one.addEventListener(one.type === "search" ? "input" : "change", () => {
    if (one.dataset.option === "masked") one.dataset.chosen = "yes";
    if (one.closest('[data-for~="answers"]') && one.dataset.option !== "masked") at = 0;
    revisit();
  });

// ---- free prompts

const asking = () =>
  (asked ?? runs.map((one) => one.run))
    .filter((id) => selected.includes(id))
    .slice(0, Number(part("asked").dataset.most));

function choices() {
  const chosen = new Set(asking());
  const full = chosen.size >= Number(part("asked").dataset.most);
  part("asked").replaceChildren(
    ...runs.map(({ run, label, colour }) => {
      const box = Object.assign(made("input"), {
        type: "checkbox",
        value: run,
        checked: chosen.has(run),
        disabled: full && !chosen.has(run),
      });
      const dot = made("i", "dot run");
      dot.style.setProperty("--run", `var(${colour})`);
      const line = made("label");
      line.append(box, dot, label);
      return line;
    }),
  );
}

part("asked").addEventListener("change", () => {
  asked = [...part("asked").querySelectorAll("input:checked")].map((box) => box.value);
  choices();
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
  if (act === "known") choose(runs.map((one) => one.run));
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
  part("empty").hidden = !none;
  part("board").hidden = part("rooms").hidden = none;
  if (none) {
    part("scores").replaceChildren();
    part("room").replaceChildren();
    words = { board: "", room: "" };
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

shows();
reselect();
