// The list of all runs: filters, pages, ticks, and what the reader changes of a run. The server
// draws the rows; the ticks are kept in the page's address, so that a link shows the same selection.
// Runs as the body of a function of (element, trigger, props, server).
const POLL_MS = 3000;
const UNDO_MS = 600000;
const UNDO_KEY = "unlearnlab-deleted";
const table = part("table");
const selects = [...element.querySelectorAll("select[data-filter]")];

let selected = fromAddress();
let query = { sort: "created", up: false, page: 0, word: "" };
let known = { found: 0, total: 0, ids: [], most: 100 };
let anchor = null;
let editing = false;
let typing = null;

function fromAddress() {
  const runs = new URLSearchParams(location.search).get("compare") || "";
  return [...new Set(runs.split(",").filter(Boolean))];
}

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

function select(runs) {
  const over = runs.length > known.most;
  selected = [...new Set(runs)].slice(0, known.most);
  tell(over ? `${known.most} runs at most are compared at once: the rest are not ticked.` : "");
  toAddress();
  mark();
  document.dispatchEvent(new CustomEvent("compare", { detail: selected }));
}

const boxes = () => [...table.querySelectorAll("input[data-pick]")];

function mark() {
  const ticked = new Set(selected);
  for (const box of boxes()) {
    box.checked = ticked.has(box.dataset.pick);
    box.closest("tr").classList.toggle("picked", box.checked);
  }
  const all = table.querySelector("input[data-all]");
  const there = boxes().filter((box) => box.checked).length;
  if (all) {
    all.checked = there > 0 && there === boxes().length;
    all.indeterminate = there > 0 && !all.checked;
  }
  const none = selected.length === 0;
  part("count").textContent = none ? "none selected" : `${selected.length} selected`;
  for (const one of element.querySelectorAll("[data-needs]")) one.hidden = none;
  if (none) for (const form of element.querySelectorAll("form.tagging")) form.hidden = true;
  const more = known.ids.some((id) => !ticked.has(id)) && known.found > boxes().length;
  part("every").hidden = !more;
  part("every").textContent = `Select all ${known.found} found`;
}

function tell(text, bad = false) {
  const box = part("told");
  box.hidden = !text;
  box.textContent = text;
  box.classList.toggle("bad", bad);
}

function choices(offered, since) {
  for (const one of selects) {
    const name = one.dataset.filter;
    const pairs = name === "since" ? since : [["", one.dataset.any], ...offered[name]];
    offer(one, pairs);
    if (name === "tag") one.hidden = pairs.length < 2;
  }
}

function take(answer) {
  if (editing || answer.same) return;
  known = answer;
  query.word = answer.word;
  query.page = answer.page;
  choices(answer.choices, answer.since);
  part("total").textContent =
    answer.found === answer.total ? `${answer.total} runs` : `${answer.found} of ${answer.total} runs`;
  element.firstElementChild.classList.toggle("bare", answer.total === 0);
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

async function change(wish) {
  try {
    answered(await server.change_runs(wish));
    tell("");
    await look({});
    document.dispatchEvent(new CustomEvent("compare", { detail: selected }));
    return "";
  } catch (error) {
    return problemOf(error);
  }
}

// What was deleted can be brought back for a while, also after a reload of the page.
function undoable() {
  const kept = JSON.parse(sessionStorage.getItem(UNDO_KEY) || "null");
  return kept && Date.now() - kept.at < UNDO_MS ? kept : null;
}

function showUndo() {
  const kept = undoable();
  part("undo").hidden = !kept;
  if (!kept) return;
  const count = kept.runs.length === 1 ? "1 run is" : `${kept.runs.length} runs are`;
  part("undo").querySelector("span").textContent = `${count} deleted.`;
}

async function remove(runs) {
  const problem = await change({ action: "delete", runs });
  if (problem) return tell(problem, true);
  sessionStorage.setItem(UNDO_KEY, JSON.stringify({ runs, at: Date.now() }));
  showUndo();
  select(selected.filter((id) => !runs.includes(id)));
  part("undo").querySelector("button").focus();
}

part("undo").addEventListener("click", async (event) => {
  const pressed = event.target.closest("button");
  const kept = undoable();
  if (!pressed) return;
  sessionStorage.removeItem(UNDO_KEY);
  showUndo();
  if (!kept || pressed.dataset.act !== "undo") return;
  const problem = await change({ action: "restore", runs: kept.runs });
  tell(problem, true);
});

// ---- editing: a row below the run; the list is not drawn anew while it is open.

function field(label, name, value, rows) {
  const box = made("label");
  const input = made(rows ? "textarea" : "input");
  Object.assign(input, { name, value });
  if (rows) input.rows = rows;
  box.append(made("span", "", label), input);
  return box;
}

function act(name, text, kind = "quiet") {
  const node = button(kind, text, { act: name });
  if (name === "save") node.type = "submit";
  return node;
}

function close(focus) {
  const open = table.querySelector("tr.edit");
  const run = open?.previousElementSibling.dataset.run;
  open?.remove();
  editing = false;
  if (focus && run) table.querySelector(`[data-edit="${CSS.escape(run)}"]`)?.focus();
}

function edit(row) {
  const was = row.nextElementSibling?.matches("tr.edit");
  close(true);
  if (was) return;
  editing = true;
  const { title, tags, notes } = JSON.parse(row.dataset.mark);
  const form = made("form", "edit-form");
  const buttons = made("div", "edit-buttons");
  const problem = made("p", "bad");
  problem.setAttribute("role", "alert");
  buttons.append(act("save", "Save", "strong"), act("cancel", "Cancel"), act("delete", "Delete run"));
  form.append(field("Name", "name", title), field("Tags, with commas", "tags", tags));
  form.append(field("Notes", "notes", notes, 3), buttons, problem);
  const line = made("tr", "edit");
  const cell = made("td");
  cell.colSpan = row.cells.length;
  cell.append(form);
  line.append(cell);
  row.after(line);
  form.elements.name.select();
  const run = row.dataset.run;
  const leave = () => (close(true), look({}));
  form.addEventListener("keydown", (event) => event.key === "Escape" && leave());
  form.addEventListener("click", (event) => {
    const name = event.target.dataset.act;
    if (name === "cancel") leave();
    if (name === "delete") (close(false), remove([run]));
  });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const [name, tags, notes] = ["name", "tags", "notes"].map((of) => form.elements[of].value);
    editing = false;
    problem.textContent = await change({ action: "amend", runs: [run], name, tags, notes });
    editing = Boolean(problem.textContent);
    if (!editing) table.querySelector(`[data-edit="${CSS.escape(run)}"]`)?.focus();
  });
}

// ---- what is pressed

table.addEventListener("click", (event) => {
  const box = event.target.closest("input[data-pick]");
  if (box) {
    const shown = boxes().map((one) => one.dataset.pick);
    const here = shown.indexOf(box.dataset.pick);
    const from = event.shiftKey && anchor !== null ? shown.indexOf(anchor) : here;
    const range = shown.slice(Math.min(here, from < 0 ? here : from), Math.max(here, from) + 1);
    anchor = box.dataset.pick;
    const rest = selected.filter((id) => !range.includes(id));
    return select(box.checked ? [...rest, ...range] : rest);
  }
  if (event.target.matches("input[data-all]")) {
    const shown = boxes().map((one) => one.dataset.pick);
    const rest = selected.filter((id) => !shown.includes(id));
    return select(event.target.checked ? [...rest, ...shown] : rest);
  }
  const pressed = event.target.closest("button");
  if (!pressed || pressed.disabled) return;
  const { sort, page, open, pin, edit: of } = pressed.dataset;
  if (sort) {
    const up = query.sort === sort ? !query.up : sort === "title";
    look({ sort, up, page: 0 });
  }
  if (page !== undefined) look({ page: Number(page) });
  if (open) trigger("open", { run: open });
  if (of) edit(pressed.closest("tr"));
  if (pin) {
    const { pinned } = JSON.parse(pressed.closest("tr").dataset.mark);
    change({ action: "amend", runs: [pin], pinned: !pinned }).then((problem) => tell(problem, true));
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
  const name = event.target.closest("button")?.dataset.act;
  if (name === "clear") select([]);
  if (name === "every") select([...selected, ...known.ids]);
  if (name === "delete") remove(selected);
  if (name === "tag") unfold("tagging");
  if (name === "report") unfold("reporting");
  if (name === "link") copy(location.href);
});

part("tagging").addEventListener("submit", async (event) => {
  event.preventDefault();
  const input = part("tagging").querySelector("input");
  const problem = await change({ action: "tag", runs: selected, tags: input.value });
  tell(problem, true);
  if (problem) return;
  input.value = "";
  part("tagging").hidden = true;
});

part("reporting").addEventListener("submit", async (event) => {
  event.preventDefault();
  const masked = part("reporting").querySelector("input").checked;
  const sliders = [...document.querySelectorAll("#compare-rooms [data-weight]")];
  const weights = Object.fromEntries(sliders.map((one) => [one.dataset.weight, Number(one.value)]));
  tell("The report is being written …");
  try {
    const asked = server.report_runs({ runs: selected, masked, ...weights });
    const { name, data } = answered(await asked, ["data"]);
    save(name, data, "text/html");
    tell("The report is downloaded. It needs no network and shows what this page shows.");
    part("reporting").hidden = true;
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
