// The list of all runs: query, filters, columns, pages, ticks, and what the reader changes of a run.
// The server draws the rows. Ticks and view are kept in the page's address, so that a link shows the
// same. Named views are the reader's own, not facts about runs: this browser keeps them.
// Runs as the body of a function of (element, trigger, props, server).
const POLL_MS = 3000;
const UNDO_MS = 600000;
const UNDO_KEY = "unlearnlab-deleted";
const VIEWS_KEY = "unlearnlab-views";
const PENDING_MS = 300;
const USUAL = { text: "", filters: {}, sort: "created", up: false, columns: [], fold: "", baseline: "" };
const table = part("table");
const selects = [...element.querySelectorAll("select[data-filter]")];
const every = element.querySelector('[data-act="every"]');

let selected = (new URLSearchParams(location.search).get("compare") || "").split(",");
selected = [...new Set(selected.filter(Boolean))];
let view = { ...USUAL, ...read(new URLSearchParams(location.search).get("view")) };
let page = 0;
let word = "";
let unfolded = [];
let brushed = ""; // What a brush on the axes of the panel has added to the query.
let known = { found: 0, total: 0, ids: [], most: 250, columns: [], differ: [], pending: 0 };
let anchor = null;
let editing = false; // The list is not drawn anew meanwhile.
let typing = null;

function read(text) {
  try {
    const found = JSON.parse(text ?? "null");
    return found && typeof found === "object" ? found : {};
  } catch {
    return {};
  }
}

// What of a view is not as usual.
function changed(of) {
  const kept = Object.entries(of).filter(
    ([key, value]) => key in USUAL && JSON.stringify(value) !== JSON.stringify(USUAL[key]),
  );
  return Object.fromEntries(kept);
}

// Ids hold digits and hyphens only, so that commas need no escaping.
function toAddress() {
  const rest = new URLSearchParams(location.search);
  rest.delete("compare");
  rest.delete("tab");
  rest.delete("view");
  const own = changed(view);
  if (Object.keys(own).length) rest.set("view", JSON.stringify(own));
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
const idsOf = (picks) => picks.flatMap((pick) => pick.split(",")); // A folded row has several.

function mark() {
  const ticked = new Set(selected);
  const shown = boxes();
  for (const box of shown) {
    const there = idsOf([box.dataset.pick]).filter((id) => ticked.has(id)).length;
    box.checked = there > 0 && there === idsOf([box.dataset.pick]).length;
    box.indeterminate = there > 0 && !box.checked;
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
  const listed = new Set(idsOf(shown.map((box) => box.dataset.pick)));
  every.hidden = known.found <= listed.size || known.ids.every((id) => ticked.has(id));
  every.textContent = `Select all ${known.found} found`;
}

function tell(text, bad = false) {
  const box = part("told");
  box.hidden = !text;
  box.textContent = text;
  box.classList.toggle("bad", bad);
}

function take(answer) {
  write(part("wrong"), answer.wrong ?? "");
  show("wrong", Boolean(answer.wrong));
  part("text").setAttribute("aria-invalid", String(Boolean(answer.wrong)));
  if (editing || answer.same || answer.wrong) return;
  known = answer;
  word = answer.word;
  page = answer.page;
  for (const one of selects) {
    const { filter, any } = one.dataset;
    offer(one, filter === "since" ? answer.since : [["", any], ...answer.choices[filter]]);
    one.value = view.filters[filter] ?? "";
    if (filter === "tag") one.hidden = answer.choices.tag.length === 0;
  }
  showColumns();
  const { found, total, pending } = answer;
  const soon = pending ? ` · measures of ${pending} more are being computed` : "";
  part("total").textContent = `${found === total ? "" : `${found} of `}${total} runs${soon}`;
  element.firstElementChild.classList.toggle("bare", total === 0);
  redraw(table, answer.html, mark);
  document.dispatchEvent(new CustomEvent("compare-suggested", { detail: answer.suggested }));
}

function wanted() {
  const { filters, ...rest } = view;
  return { ...rest, ...filters, page, open: unfolded };
}

const request = () => server.list_runs({ ...wanted(), word });

// Shows another view or page; a change of the view begins at its first page.
function look(changes, to = 0) {
  view = { ...view, ...changes };
  page = to;
  word = "";
  toAddress();
  showViews();
  return soon();
}

// ---- views and columns

const views = () => read(localStorage.getItem(VIEWS_KEY));

function showViews() {
  const own = JSON.stringify(changed(view));
  const kept = Object.entries(views());
  const name = kept.find(([, one]) => JSON.stringify(changed(one)) === own)?.[0] ?? "";
  const other = own === "{}" || name ? [] : [["changed", "changed, not saved"]];
  offer(part("views"), [["", "usual"], ...kept.map(([one]) => [`=${one}`, one]), ...other]);
  part("views").value = name ? `=${name}` : other.length ? "changed" : "";
  element.querySelector('[data-act="unkeep"]').hidden = !name;
  element.querySelector('[data-act="keep"]').hidden = !other.length;
  part("fold").value = view.fold;
  if (document.activeElement !== part("text")) part("text").value = view.text;
}

function keep(name, of) {
  const { [name]: _, ...rest } = views();
  const all = of ? { ...rest, [name]: changed(of) } : rest;
  localStorage.setItem(VIEWS_KEY, JSON.stringify(all));
  showViews();
}

part("views").addEventListener("change", () => {
  const name = part("views").value;
  if (name === "changed") return;
  part("text").blur();
  look({ ...USUAL, ...(name ? views()[name.slice(1)] : {}) });
});
part("fold").addEventListener("change", () => {
  unfolded = [];
  look({ fold: part("fold").value });
});
part("keeping").addEventListener("submit", (event) => {
  event.preventDefault();
  const input = part("keeping").querySelector("input");
  keep(input.value.trim(), view);
  tell(`The view “${input.value.trim()}” is saved in this browser. Copy link shares it.`);
  input.value = "";
  show("keeping", false);
});

function showColumns() {
  const differ = new Set(known.differ);
  for (const box of part("columns").querySelectorAll("input")) {
    box.checked = known.columns.includes(box.value);
    box.closest("label").classList.toggle("alike", !differ.has(box.value));
  }
}

part("columns").addEventListener("change", (event) => {
  const { value, checked } = event.target;
  const rest = known.columns.filter((key) => key !== value);
  const columns = checked ? [...rest, value] : rest;
  if (!columns.length) return showColumns();
  known.columns = columns;
  look({ columns }, page);
});

// A menu closes when the reader goes elsewhere.
const menus = [...element.querySelectorAll("details.menu")];
const closeMenus = (at) =>
  menus.filter((menu) => menu.open && !menu.contains(at)).forEach((menu) => (menu.open = false));
document.addEventListener("click", (event) => closeMenus(event.target));
for (const menu of menus)
  menu.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    menu.open = false;
    menu.querySelector("summary").focus();
  });

part("looks").addEventListener("click", async (event) => {
  const { act, file } = event.target.dataset;
  if (act === "keep") unfold("keeping");
  if (act === "unkeep") keep(part("views").value.slice(1));
  if (act === "usual") look({ columns: [] });
  if (act === "all-settings") part("columns").classList.toggle("every");
  if (!file) return;
  try {
    const answer = answered(await server.save_table({ ...wanted(), kind: file }), ["data"]);
    save(answer.name, answer.data, file === "csv" ? "text/csv" : "application/x-tex");
    tell(`The table is saved as ${answer.name}, with all its pages.`);
  } catch (error) {
    tell(problemOf(error), true);
  }
});

// Returns whether the change was made; tells why it was not.
async function change(wanted, told = tell) {
  try {
    answered(await server.change_runs(wanted));
  } catch (error) {
    told(problemOf(error), true);
    return false;
  }
  tell("");
  await look({}, page);
  tellSelected();
  return true;
}

// Deleted runs can be restored for a while, also after a reload of the page.
function undoable() {
  const kept = [JSON.parse(sessionStorage.getItem(UNDO_KEY) || "[]")].flat();
  return kept.filter(({ at }) => Date.now() - at < UNDO_MS);
}

function showUndo() {
  const runs = undoable().flatMap((one) => one.runs);
  show("undo", runs.length > 0);
  const count = runs.length === 1 ? "1 run is" : `${runs.length} runs are`;
  part("undo").querySelector("span").textContent = `${count} deleted.`;
}

async function remove(runs) {
  if (!(await change({ action: "delete", runs }))) return;
  sessionStorage.setItem(UNDO_KEY, JSON.stringify([...undoable(), { runs, at: Date.now() }]));
  showUndo();
  tick(runs, false);
  part("undo").querySelector("button").focus();
}

part("undo").addEventListener("click", async (event) => {
  const act = event.target.dataset.act;
  const kept = undoable();
  if (!act) return;
  sessionStorage.removeItem(UNDO_KEY);
  showUndo();
  if (act === "undo") for (const { runs } of kept) await change({ action: "restore", runs });
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
  const leave = () => (close(), look({}, page));
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
    const range = shown.slice(Math.min(here, from), Math.max(here, from) + 1);
    return tick(idsOf(range), box.checked);
  }
  if (event.target.matches("input[data-all]")) return tick(idsOf(shown), event.target.checked);
  const pressed = event.target.closest("button");
  if (!pressed || pressed.disabled) return;
  const { sort, page: to, open, pin, edit: of, base, unfold: fold } = pressed.dataset;
  if (sort) look({ sort, up: view.sort === sort ? !view.up : sort === "title" });
  if (to !== undefined) look({}, Number(to));
  if (base !== undefined) look({ baseline: base }, page);
  if (fold) {
    unfolded = unfolded.includes(fold) ? unfolded.filter((one) => one !== fold) : [...unfolded, fold];
    look({}, page);
  }
  if (open) trigger("open", { run: open });
  if (of) edit(pressed.closest("tr"));
  if (pin) {
    const { pinned } = JSON.parse(pressed.closest("tr").dataset.mark);
    change({ action: "amend", runs: [pin], pinned: !pinned });
  }
});

part("text").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => look({ text: part("text").value }), 150);
});
for (const one of selects)
  one.addEventListener("change", () => {
    const filters = { ...view.filters, [one.dataset.filter]: one.value };
    const kept = Object.entries(filters).filter(([, value]) => value);
    look({ filters: Object.fromEntries(kept) });
  });

// What is brushed on the axes of the panel becomes a part of the query, in place of the last brush.
document.addEventListener("compare-brush", (event) => {
  const rest = view.text.replace(brushed, "").trim();
  brushed = event.detail;
  const text = `${rest} ${brushed}`.trim();
  part("text").value = text;
  look({ text });
});

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
    tell("The link is copied: it shows this view and selection wherever this page is open.");
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
  pace: () => (known.pending ? PENDING_MS : POLL_MS),
  seen: () => open && !editing,
  needs: ["same", "html", "wrong"],
});
new ResizeObserver(seen).observe(element);
setInterval(showUndo, POLL_MS);
showUndo();
showViews();
mark();
