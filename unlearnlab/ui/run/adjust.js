// Values that may be changed while a run goes on. Runs as the body of a function of
// (element, trigger, props, watch).
const card = element.querySelector(".adjust");
const form = element.querySelector("form");
const said = element.querySelector('[role="status"]');
let drawn = ""; // Run, phase and values that the fields were made for.

function field(one) {
  const box = made("div", "field");
  box.dataset.path = one.path;
  const input = made("input");
  Object.assign(input, { type: "text", id: `adjust-${one.path}`, value: one.value });
  input.autocomplete = "off";
  input.dataset.was = one.value;
  const label = made("label", "", one.label);
  label.htmlFor = input.id;
  box.append(label, input);
  return box;
}

function inputs() {
  return [...form.querySelectorAll("input")];
}

function pathOf(input) {
  return input.closest(".field").dataset.path;
}

function clear(box) {
  box.classList.remove("wrong");
  box.querySelector(".field-problem")?.remove();
  box.querySelector("input").removeAttribute("aria-invalid");
}

// What is being typed stays, unless the values themselves have changed meanwhile.
function draw(value) {
  const now = JSON.stringify([value.run, value.phase, value.fields, value.asked]);
  if (now === drawn) return;
  const held = drawn ? JSON.parse(drawn) : [];
  const typed = new Map();
  if (held[0] === value.run && held[1] === value.phase)
    for (const input of inputs())
      if (input.value !== input.dataset.was) typed.set(pathOf(input), input);
  const focused = document.activeElement?.id;
  drawn = now;
  form.querySelectorAll(".field").forEach((box) => box.remove());
  form.prepend(...value.fields.map(field));
  for (const input of inputs()) {
    const other = typed.get(pathOf(input));
    if (other && other.dataset.sent !== "yes") input.value = other.value;
  }
  if (focused?.startsWith("adjust-")) document.getElementById(focused)?.focus();
  said.textContent = "";
}

function tell(value) {
  form.querySelectorAll(".field").forEach(clear);
  const stray = [];
  for (const problem of value.problems) {
    const box = form.querySelector(`[data-path="${CSS.escape(problem.path)}"]`);
    if (!box) {
      stray.push(problem.message);
      continue;
    }
    box.classList.add("wrong");
    box.append(made("div", "field-problem", problem.message));
    box.querySelector("input").setAttribute("aria-invalid", "true");
    box.querySelector("input").dataset.sent = "";
  }
  said.textContent = stray.join(". ") || value.note;
  said.classList.toggle("bad", stray.length > 0);
  form.querySelector(".wrong input")?.focus();
}

function load() {
  const value = props.value;
  if (!value || !value.fields) return;
  card.hidden = value.fields.length === 0;
  element.querySelector("h2 + span").textContent = value.title;
  draw(value);
  if (value.told) tell(value);
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const changed = inputs().filter((input) => input.value.trim() !== input.dataset.was);
  changed.forEach((input) => (input.dataset.sent = "yes"));
  trigger("apply", {
    run: props.value.run,
    phase: props.value.phase,
    changes: Object.fromEntries(changed.map((input) => [pathOf(input), input.value.trim()])),
  });
});
form.addEventListener("input", (event) => {
  const box = event.target.closest(".field");
  if (box?.classList.contains("wrong")) clear(box);
});
watch("value", load);
load();
