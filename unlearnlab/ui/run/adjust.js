// Values that may be changed while a run goes on. Runs as the body of a function of
// (element, trigger, props, watch).
const form = element.querySelector("form");
const said = element.querySelector('[role="status"]');
let phase = ""; // Run and phase that the fields belong to.
let asked = null; // Number of changes made or refused until then.

function field({ path, label }) {
  const box = made("div", "field");
  const input = Object.assign(made("input"), { type: "text", id: `adjust-${path}`, name: path });
  input.autocomplete = "off";
  box.append(Object.assign(made("label", "", label), { htmlFor: input.id }), input);
  return box;
}

function inputs() {
  return [...form.querySelectorAll("input")];
}

function clear(input) {
  input.parentElement.classList.remove("wrong");
  input.parentElement.querySelector(".field-problem")?.remove();
  input.removeAttribute("aria-invalid");
}

// What is being typed stays; what was sent gives way to what holds once it was applied or refused.
function fill(value) {
  const now = JSON.stringify([value.run, value.phase]);
  if (now !== phase) {
    form.querySelectorAll(".field").forEach((box) => box.remove());
    form.prepend(...value.fields.map(field));
  }
  const answered = now !== phase || value.asked !== asked;
  [phase, asked] = [now, value.asked];
  if (answered) said.textContent = "";
  for (const { path, value: holds } of value.fields) {
    const input = form.elements[path];
    const { was, sent } = input.dataset;
    if (input.value === (was ?? "") || (answered && sent)) input.value = holds;
    input.dataset.was = holds;
    if (answered) delete input.dataset.sent;
  }
}

function tell(value) {
  inputs().forEach(clear);
  if (value.problems.length) inputs().forEach((input) => delete input.dataset.sent);
  const stray = value.problems.filter(({ path, message }) => {
    const input = inputs().find((one) => one.name === path);
    if (!input) return true;
    input.parentElement.classList.add("wrong");
    input.setAttribute("aria-invalid", "true");
    input.after(made("div", "field-problem", message));
    return false;
  });
  said.textContent = stray.map((one) => one.message).join(". ") || value.note;
  said.classList.toggle("bad", stray.length > 0);
  form.querySelector(".wrong input")?.focus();
}

function load() {
  const value = props.value;
  if (!value?.fields) return;
  element.querySelector(".adjust").hidden = value.fields.length === 0;
  element.querySelector("h2 + span").textContent = value.title;
  fill(value);
  if (value.told) tell(value);
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const changed = inputs().filter((input) => input.value.trim() !== input.dataset.was);
  for (const input of changed) input.dataset.sent = "yes";
  const changes = Object.fromEntries(changed.map(({ name, value }) => [name, value.trim()]));
  trigger("apply", { run: props.value.run, phase: props.value.phase, changes });
});
form.addEventListener("input", (event) => clear(event.target));
watch("value", load);
load();
