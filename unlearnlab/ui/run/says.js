// What the model says at each probe, and the scrubber that goes back through its steps: the slider
// under the chart, and the dotted line in it, which can be dragged. Stands before live.js, whose
// `run`, `last` and `element` it uses. Cells come as HTML of the server, which has masked them.

let said = new Map(); // What is said, by step: the cell of each row.
let saidRows = [];
let looked = null; // The step that the reader went to and stays at; null follows the latest.
let unmasked = null; // What the reader chose for the shown run: {run, masked}.

const scrub = part("scrub");
const grip = part("grip");

function saidSteps() {
  return [...said.keys()].sort((one, other) => one - other);
}

function saidStep() {
  return looked ?? saidSteps().at(-1) ?? null;
}

// Whether the next probe will be shown as soon as it is there, or there will be none.
function follows() {
  return looked === null || (!last?.live && looked === saidSteps().at(-1));
}

function nearest(step) {
  return saidSteps().reduce((best, one) => (Math.abs(one - step) < Math.abs(best - step) ? one : best));
}

function forgetSaid() {
  said = new Map();
  saidRows = [];
}

function wantsMask() {
  return unmasked?.run === run ? unmasked.masked : null;
}

function takeSaid(found) {
  for (const { step, cells } of found.steps) said.set(step, cells);
  if (found.rows.length) saidRows = found.rows;
  part("mask-says").hidden = !found.personal;
  part("mask-says").setAttribute("aria-pressed", String(found.masked));
  if (looked !== null && said.size && !said.has(looked)) looked = null;
  drawSaid();
}

function drawSaid() {
  const steps = saidSteps();
  show("says", steps.length > 0);
  show("scrubber", steps.length > 1);
  if (!steps.length) return placeGrip();
  const step = saidStep();
  const head =
    step === 0 ? "Before training" : follows() && last?.live ? `Now, step ${step}` : `At step ${step}`;
  write(part("says-now"), head);
  refill(part("says-rows"), saidRows, () => saidRows.map(saidRow));
  for (const row of part("says-rows").children) {
    const html = said.get(step)?.[row.dataset.row] ?? '<span class="told">not asked then</span>';
    const cell = row.lastElementChild;
    cell.dataset.label = head;
    if (cell.dataset.shown === html) continue;
    cell.dataset.shown = html;
    cell.innerHTML = html;
    // A row keeps the height of its longest answer: what stands below does not jump.
    if (row.offsetHeight > (row.dataset.tall ?? 0)) {
      row.dataset.tall = row.offsetHeight;
      row.style.setProperty("--tall", `${row.offsetHeight}px`);
    }
  }
  scrub.max = Math.max(last?.steps ?? 0, steps.at(-1));
  scrub.value = step;
  scrub.style.setProperty("--at", `${(100 * step) / Math.max(1, scrub.max)}%`);
  scrub.setAttribute("aria-valuetext", `step ${step}, ${steps.indexOf(step) + 1} of ${steps.length} probes`);
  write(part("scrub-step"), `step ${step}`);
  show("scrub-latest", !follows());
  show("scrub-hint", follows());
  placeGrip();
}

window.addEventListener("resize", () => {
  for (const row of part("says-rows").children) {
    delete row.dataset.tall;
    row.style.removeProperty("--tall");
  }
});

function saidRow({ row, asked, original }) {
  const node = made("tr");
  node.dataset.row = row;
  for (const [label, html] of [["Prompt", asked], ["Original model", original], ["", ""]]) {
    const cell = made("td");
    cell.dataset.label = label;
    cell.innerHTML = html;
    node.append(cell);
  }
  return node;
}

// ---- going to a step -------------------------------------------------------------------------

// A reader who went to a step stays there, even if it was the latest then; null follows.
function lookAt(step) {
  looked = step;
  drawSaid();
}

// By so many probes, from where the reader is; beyond the latest is to follow.
function moveSaid(by) {
  const steps = saidSteps();
  const at = steps.indexOf(saidStep()) + by;
  lookAt(at < steps.length ? steps[Math.max(0, at)] : null);
}

// To the probe nearest to a place on the slider or in the chart.
function moveTo(place) {
  lookAt(place > saidSteps().at(-1) ? null : nearest(place));
}

const KEYS = {
  ArrowRight: () => moveSaid(1),
  ArrowUp: () => moveSaid(1),
  ArrowLeft: () => moveSaid(-1),
  ArrowDown: () => moveSaid(-1),
  PageUp: () => moveSaid(4),
  PageDown: () => moveSaid(-4),
  Home: () => lookAt(saidSteps()[0]),
  End: () => lookAt(null),
};

scrub.addEventListener("input", () => said.size && moveTo(Number(scrub.value)));
scrub.addEventListener("keydown", (event) => {
  if (!KEYS[event.key] || !said.size || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  KEYS[event.key]();
});
// The arrow keys of the presentation mode.
document.addEventListener("scrub", ({ detail }) => said.size && moveSaid(detail));
part("scrub-latest").addEventListener("click", () => {
  lookAt(null);
  scrub.focus();
});

// ---- the dotted line in the chart -------------------------------------------------------------

// Where the plot's axis of steps lies, in pixels from the plot's left, and its range.
function axisPlace() {
  const plot = element.querySelector(".plot");
  const size = plot._fullLayout?._size;
  const range = plot._fullLayout?.xaxis?.range?.map(Number);
  return size && range && { left: size.l, width: size.w, top: size.t, height: size.h, range };
}

function placeGrip() {
  const place = axisPlace();
  const step = saidStep();
  grip.hidden = !place || step === null || said.size < 2;
  if (grip.hidden) return;
  const [from, to] = place.range;
  const share = (xOf(step) - from) / Math.max(1e-9, to - from);
  grip.hidden = share < -0.001 || share > 1.001;
  // Not `left`: a browser counts that as a shift of the layout.
  grip.style.transform = `translateX(${place.left + share * place.width}px)`;
  grip.style.top = `${place.top}px`;
  grip.style.height = `${place.height}px`;
}

function stepUnder(event) {
  const place = axisPlace();
  const box = element.querySelector(".plot").getBoundingClientRect();
  const share = (event.clientX - box.left - place.left) / place.width;
  return stepOf(place.range[0] + share * (place.range[1] - place.range[0]));
}

grip.addEventListener("pointerdown", (event) => {
  event.preventDefault();
  grip.setPointerCapture(event.pointerId);
});
grip.addEventListener("pointermove", (event) => {
  if (grip.hasPointerCapture(event.pointerId) && said.size) moveTo(stepUnder(event));
});

// ---- names and numbers, and which prompts ------------------------------------------------------

function chooseMask(masked) {
  if (!run || wantsMask() === masked) return;
  unmasked = { run, masked };
  forget();
  soon();
}

// The switch of the answers, once they are there, is the same one.
function maskBox() {
  return document.querySelector("#mask input");
}

part("mask-says").addEventListener("click", (event) => {
  const masked = event.currentTarget.getAttribute("aria-pressed") !== "true";
  if (maskBox() && maskBox().checked !== masked) maskBox().click();
  chooseMask(masked);
});
document.addEventListener("change", ({ target }) => target === maskBox() && chooseMask(target.checked));

part("pin").addEventListener("click", () => {
  const fold = document.querySelector("#expert");
  const box = () => document.querySelector("#f-evaluation-watched_rows");
  if (!box() || box().offsetParent === null) fold?.querySelector("button")?.click();
  setTimeout(() => {
    box()?.scrollIntoView({ block: "center" });
    box()?.querySelector("input")?.focus({ preventScroll: true });
  }, 150);
});
