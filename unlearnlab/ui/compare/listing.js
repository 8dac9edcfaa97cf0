// The list of all runs: filters, pages, ticks, and what the reader changes of a run. The server
// draws the rows; the ticks are kept in the page's address, so that a link shows the same selection.
// Runs as the body of a function of (element, trigger, props, server).
const POLL_MS = 3000;
const UNDO_MS = 600000;
const UNDO_KEY = "unlearnlab-deleted";
const table = part("table");
const selects = [...element.querySelectorAll("select[data-filter]")];
const every = element.querySelector('[data-act="every"]');

let selected = (new URLSearchParams(location.search).get("compare") || "").split(",");
selected = [...new Set(selected.filter(Boolean))];
let query = { sort: "created", up: false, page: 0, word: "" };
let known = { found: 0, total: 0, ids: [], most: 100 };
let anchor = null;
let editing = false; // The list is not drawn anew meanwhile.
let typing = null;

// Ids hold digits and hyphens only, so that commas need no escaping.
function toAddress() {
  const rest = new URLSearchParams(location.search);
  rest.delete("compare");
  rest.delete("tab");
  if (element.offsetParent !== null) rest.set("tab", "compare");
  const runs = selected.map(encodeURIComponent).join(",");
  const parts = [rest.toString(), runs && `compare=${runs}`].filter(Boolean).join("&");
  history.replaceState(history.state, "", `${location.pathname}${parts && `?${parts}`}${location.hash}`);
}

function tellSelected() {
  document.dispatchEvent(new CustomEvent("compare", { detail: selected }));
}

function select(runs) {
  const over = runs.length > known.most;
  selected = [...new Set(runs)].slice(0, known.most);
  tell(over ? `${known.most} runs at most are compared at once: the rest are not ticked.` : "");
  toAddress();
  mark();
  tellSelected();
}

function tick(runs, on) {
  const rest = selected.filter((id) => !runs.includes(id));
  select(on ? [...rest, ...runs] : rest);
}

const boxes = () => [...table.querySelectorAll("input[data-pick]")];

function mark() {
  const ticked = new Set(selected);
  const shown = boxes();
  for (const box of shown) {
    box.checked = ticked.has(box.dataset.pick);
    box.closest("tr").classList.toggle("picked", box.checked);
  }
  const all = table.querySelector("input[data-all]");
  const there = shown.filter((box) => box.checked).length;
  if (all) {
    all.checked = there > 0 && there === shown.length;
    all.indeterminate = there > 0 && !all.checked;
  }
  const none = selected.length === 0;
  part("count").textContent = none ? "none selected" : `${selected.length} selected`;
  for (const one of element.querySelectorAll("[data-needs]")) one.hidden = none;
  if (none) for (const form of element.querySelectorAll("form.tagging")) form.hidden = true;
  every.hidden = known.found <= shown.length || known.ids.every((id) => ticked.has(id));
  every.textContent = `Select all ${known.found} found`;
}

function tell(text, bad = false) {
  const box = part("told");
  box.hidden = !text;
  box.textContent = text;
  box.classList.toggle("bad", bad);
}

function take(answer) {
  if (editing || answer.same) return;
  known = answer;
  query.word = answer.word;
  query.page = answer.page;
  for (const one of selects) {
    const { filter, any } = one.dataset;
    offer(one, filter === "since" ? answer.since : [["", any], ...answer.choices[filter]]);
    if (filter === "tag") one.hidden = answer.choices.tag.length === 0;
  }
  const { found, total } = answer;
  part("total").textContent = found === total ? `${total} runs` : `${found} of ${total} runs`;
  element.firstElementChild.classList.toggle("bare", total === 0);
  redraw(table, answer.html, mark);
  document.dispatchEvent(new CustomEvent("compare-suggested", { detail: answer.suggested }));
}

function request() {
  const filters = Object.fromEntries(selects.map((one) => [one.dataset.filter, one.value]));
  return server.list_runs({ ...query, ...filters, text: part("text").value });
}

function look(changes) {
  query = { ...query, ...changes, word: "" };
  return soon();
}

// Returns whether the change was made; tells why it was not.
async function change(wanted, told = tell) {
  try {
    answered(await server.change_runs(wanted));
  } catch (error) {
    told(problemOf(error), true);
    return false;
  }
  tell("");
  await look({});
  tellSelected();
  return true;
}

// Deleted runs can be restored for a while, also after a reload of the page.
function undoable() {
  const kept = JSON.parse(sessionStorage.getItem(UNDO_KEY) || "null");
  return kept && Date.now() - kept.at < UNDO_MS ? kept.runs : null;
}

function showUndo() {
  const runs = undoable();
  show("undo", Boolean(runs));
  if (!runs) return;
  const count = runs.length === 1 ? "1 run is" : `${runs.length} runs are`;
  part("undo").querySelector("span").textContent = `${count} deleted.`;
}

async function remove(runs) {
  if (!(await change({ action: "delete", runs }))) return;
  sessionStorage.setItem(UNDO_KEY, JSON.stringify({ runs, at: Date.now() }));
  showUndo();
  tick(runs, false);
  part("undo").querySelector("button").focus();
}

part("undo").addEventListener("click", (event) => {
  const act = event.target.dataset.act;
  const runs = undoable();
  if (!act) return;
  sessionStorage.removeItem(UNDO_KEY);
  showUndo();
  if (runs && act === "undo") change({ action: "restore", runs });
});

// ---- editing: a row below the run

function close() {
  const open = table.querySelector("tr.edit");
  const run = open?.previousElementSibling.dataset.run;
  open?.remove();
  editing = false;
  if (run) refocus(run);
}

function refocus(run) {
  table.querySelector(`[data-edit="${CSS.escape(run)}"]`)?.focus();
}

function edit(row) {
  const was = row.nextElementSibling?.matches("tr.edit");
  close();
  if (was) return;
  editing = true;
  const run = row.dataset.run;
  const line = element.querySelector("template").content.firstElementChild.cloneNode(true);
  const form = line.querySelector("form");
  line.cells[0].colSpan = row.cells.length;
  const { name, tags, notes } = JSON.parse(row.dataset.mark);
  for (const [key, value] of Object.entries({ name, tags, notes })) form.elements[key].value = value;
  row.after(line);
  form.elements.name.select();
  const leave = () => (close(), look({}));
  form.addEventListener("keydown", (event) => event.key === "Escape" && leave());
  form.addEventListener("click", (event) => {
    const act = event.target.dataset.act;
    if (act === "cancel") leave();
    if (act === "delete") (close(), remove([run]));
  });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const values = Object.fromEntries(new FormData(form));
    const told = (text) => (form.querySelector("p").textContent = text);
    editing = false;
    editing = !(await change({ action: "amend", runs: [run], ...values }, told));
    if (!editing) refocus(run);
  });
}

// ---- what is pressed

table.addEventListener("click", (event) => {
  const shown = boxes().map((one) => one.dataset.pick);
  const box = event.target.closest("input[data-pick]");
  if (box) {
    const here = shown.indexOf(box.dataset.pick);
    const last = event.shiftKey ? shown.indexOf(anchor) : -1;
    const from = last < 0 ? here : last;
    anchor = box.dataset.pick;
    return tick(shown.slice(Math.min(here, from), Math.max(here, from) + 1), box.checked);
  }
  if (event.target.matches("input[data-all]")) return tick(shown, event.target.checked);
  const pressed = event.target.closest("button");
  if (!pressed || pressed.disabled) return;
  const { sort, page, open, pin, edit: of } = pressed.dataset;
  if (sort) look({ sort, up: query.sort === sort ? !query.up : sort === "title", page: 0 });
  if (page !== undefined) look({ page: Number(page) });
  if (open) trigger("open", { run: open });
  if (of) edit(pressed.closest("tr"));
  if (pin) {
    const { pinned } = JSON.parse(pressed.closest("tr").dataset.mark);
    change({ action: "amend", runs: [pin], pinned: !pinned });
  }
});

part("text").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => look({ page: 0 }), 150);
});
for (const one of selects) one.addEventListener("change", () => look({ page: 0 }));

function unfold(name) {
  for (const form of element.querySelectorAll("form.tagging"))
    form.hidden = form.dataset.part !== name || !form.hidden;
  if (!part(name).hidden) part(name).querySelector("input").focus();
}

part("bar").addEventListener("click", (event) => {
  const act = event.target.dataset.act;
  if (act === "clear") select([]);
  if (act === "every") select([...selected, ...known.ids]);
  if (act === "delete") remove(selected);
  if (act === "tag") unfold("tagging");
  if (act === "report") unfold("reporting");
  if (act === "link") copy(location.href);
});

part("tagging").addEventListener("submit", async (event) => {
  event.preventDefault();
  const input = part("tagging").querySelector("input");
  if (!(await change({ action: "tag", runs: selected, tags: input.value }))) return;
  input.value = "";
  show("tagging", false);
});

part("reporting").addEventListener("submit", async (event) => {
  event.preventDefault();
  const masked = part("reporting").querySelector("input").checked;
  const sliders = [...document.querySelectorAll("#compare-panels [data-weight]")];
  const weights = Object.fromEntries(sliders.map((one) => [one.dataset.weight, Number(one.value)]));
  tell("The report is being written …");
  try {
    const asked = server.report_runs({ runs: selected, masked, ...weights });
    const { name, data } = answered(await asked, ["data"]);
    save(name, data, "text/html");
    tell("The report is downloaded. It needs no network and shows what this page shows.");
    show("reporting", false);
  } catch (error) {
    tell(problemOf(error), true);
  }
});

// Browsers lend the clipboard to pages of this machine and to encrypted ones alone.
async function copy(link) {
  try {
    await navigator.clipboard.writeText(link);
    tell("The link is copied: it shows this selection wherever this page is open.");
  } catch {
    tell(`The link to this selection: ${link}`);
  }
}

document.addEventListener("compare-select", (event) => select(event.detail));

// The address leads to this tab while it is open.
let open = null;
function seen() {
  const now = element.offsetParent !== null;
  if (now === open) return;
  open = now;
  toAddress();
  if (open) soon();
}

const soon = poll({
  request,
  take,
  pace: () => POLL_MS,
  seen: () => open && !editing,
  needs: ["same", "html"],
});
new ResizeObserver(seen).observe(element);
setInterval(showUndo, POLL_MS);
showUndo();
mark();
