// What is compared of the selected runs: the scoreboard, and one room at a time below it. The server
// draws both; here they are asked for, and what the reader chose to see is kept.
// Runs as the body of a function of (element, props, server).
const POLL_MS = 3000;
const WAIT_MS = 700;
const ROOM_KEY = "room";
const part = (name) => element.querySelector(`[data-part="${name}"]`);
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
let numbers = { board: 0, room: 0 };
let at = 0; // The example.
let asked = null; // Runs that are asked; the first few until the reader chooses.
let waiting = [];
let timer = null;

const value = (name) => element.querySelector(`[data-option="${name}"]`);

function lost(problem) {
  part("lost").textContent = problem ? `${problem} Retrying.` : "";
  part("lost").hidden = !problem;
}

// Only the answer to the latest question counts.
async function question(what, wish, answered) {
  const number = ++numbers[what];
  try {
    const call = what === "board" ? server.draw_board : server.draw_room;
    const answer = await call({ ...wish, word: words[what] });
    if (number !== numbers[what]) return;
    if (!answer || answer.problem || (!answer.same && answer.html === undefined))
      throw new Error(answer?.problem || "The server did not answer.");
    lost("");
    if (answer.same) return;
    words[what] = answer.word;
    await answered(answer);
  } catch (error) {
    if (number === numbers[what]) lost(error.message);
  }
}

// ---- the scoreboard

const weighed = () =>
  Object.fromEntries(weights.map((one) => [one.dataset.weight, Number(one.value)]));

function board(wait = false) {
  const wish = { runs: selected, ...weighed(), wait };
  return question("board", wish, async (answer) => {
    runs = answer.runs;
    place(part("scores"), answer.html);
    part("utility").textContent = answer.utility;
    choices();
    if (answer.pending && !wait) await board(true);
  });
}

// Drawn anew under the keyboard's focus, which stays where it was.
function place(box, html) {
  const key = box.contains(document.activeElement) && document.activeElement.dataset.key;
  box.innerHTML = html;
  paint(box);
  if (key) box.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus();
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
  words.room = "";
  part("room").replaceChildren();
  const url = new URL(location.href);
  url.searchParams.set(ROOM_KEY, name);
  history.replaceState(history.state, "", url.href.replaceAll("%2C", ","));
  shows();
  visit();
}

function visit() {
  const masked = value("masked").dataset.chosen ? value("masked").checked : null;
  const wish = {
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
  };
  return question("room", wish, (answer) => {
    fill(value("series"), answer.series);
    fill(value("by"), answer.by);
    if (answer.masked !== undefined) value("masked").checked = answer.masked;
    if (answer.waiting) waiting = waiting.filter((one) => answer.waiting.includes(one.ask));
    place(part("room"), answer.html);
  });
}

function fill(select, offered) {
  if (!offered || select.dataset.drawn === JSON.stringify(offered)) return;
  const was = select.value;
  select.replaceChildren(...offered.map(([of, label]) => new Option(label, of)));
  select.dataset.drawn = JSON.stringify(offered);
  if (offered.some(([of]) => of === was)) select.value = was;
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
    words.room = "";
    visit();
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
      const box = Object.assign(document.createElement("input"), {
        type: "checkbox",
        value: run,
        checked: chosen.has(run),
        disabled: full && !chosen.has(run),
      });
      const dot = Object.assign(document.createElement("i"), { className: "dot run" });
      dot.style.setProperty("--run", `var(${colour})`);
      const line = document.createElement("label");
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
    if (answer.problem) throw new Error(answer.problem);
    box.value = "";
  } catch (error) {
    told.textContent = error.message || "The server did not answer.";
  }
  soon(0);
});
part("ask").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey) return;
  event.preventDefault();
  part("ask").requestSubmit();
});

// ---- what is pressed in what the server drew

element.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button || button.disabled) return;
  const { drop, at: to, act, pick } = button.dataset;
  if (drop) choose(selected.filter((id) => id !== drop));
  if (act === "known") choose(runs.map((one) => one.run));
  if (act === "equal") {
    for (const one of weights) one.value = one.nextElementSibling.textContent = "1";
    button.hidden = true;
    board();
  }
  if (pick) choose(pick.split(","));
  if (to !== undefined) {
    at = Number(to);
    words.room = "";
    visit();
  }
});

// The list of runs keeps the selection; it tells when it has changed.
function choose(ids) {
  document.dispatchEvent(new CustomEvent("compare-select", { detail: ids }));
}

function redraw() {
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
  redraw();
});
document.addEventListener("compare-suggested", (event) => {
  const offered = Object.entries(event.detail);
  const drawn = JSON.stringify(offered);
  if (part("suggested").dataset.drawn === drawn) return;
  part("suggested").dataset.drawn = drawn;
  part("suggested").replaceChildren(
    ...offered.map(([title, ids]) => {
      const button = Object.assign(document.createElement("button"), {
        type: "button",
        className: "quiet",
        textContent: title,
      });
      button.dataset.pick = ids.join(",");
      return button;
    }),
  );
});

function soon(pause) {
  clearTimeout(timer);
  timer = setTimeout(round, pause);
}

async function round() {
  const visible = document.visibilityState === "visible" && element.offsetParent !== null;
  if (visible && selected.length) await Promise.all([board(), visit()]);
  soon(waiting.length ? WAIT_MS : POLL_MS);
}

shows();
redraw();
soon(POLL_MS);
