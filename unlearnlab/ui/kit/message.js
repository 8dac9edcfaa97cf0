// Shows problems: all in a list here, and each at its field. Runs as the body of a function of
// (element, props, watch). Messages quote what the user typed, so they go through textContent.
const box = element.querySelector(".message");

function clear(field) {
  field.classList.remove("wrong");
  field.querySelector(".field-problem")?.remove();
  for (const input of field.querySelectorAll("[aria-invalid]")) {
    input.removeAttribute("aria-invalid");
    input.removeAttribute("aria-describedby");
  }
}

function mark(problem) {
  const field = document.getElementById(problem.element);
  if (!field) return null;
  clear(field);
  field.classList.add("wrong");
  field.append(made("div", "field-problem", problem.message));
  const input = field.querySelector("input, textarea");
  field.lastElementChild.id = `${problem.element}-problem`;
  input?.setAttribute("aria-invalid", "true");
  input?.setAttribute("aria-describedby", `${problem.element}-problem`);
  return input;
}

// A folded field is not in the document until its fold is opened.
function unfold(then) {
  const fold = document.querySelector("#expert button.label-wrap");
  if (!fold || fold.classList.contains("open")) return;
  fold.click();
  setTimeout(then, 150);
}

// A field that was left is checked: what is wrong stands at it, and nothing moves. The answer to a
// button knows more of the same form, such as a model that is not here.
function tellQuietly() {
  const { problems, form } = props.fields;
  if (props.value?.problems?.length && form === props.value.form) return;
  document.querySelectorAll(".left .field.wrong").forEach(clear);
  for (const problem of problems) mark(problem);
  if (box.classList.contains("bad")) list(problems, "");
}

function tell() {
  const { problems = [], note = "" } = props.value || {};
  document.querySelectorAll(".field.wrong").forEach(clear);
  list(problems, note);
  const place = () => {
    const first = problems
      .filter((one) => one.element)
      .map(mark)
      .find(Boolean);
    // A dropdown opens when it is focused, and would cover the message.
    if (first?.hasAttribute("aria-expanded")) first.scrollIntoView({ block: "center" });
    else first?.focus();
  };
  place();
  if (problems.some((one) => one.element && !document.getElementById(one.element)))
    unfold(place);
}

function list(problems, note) {
  box.hidden = problems.length === 0 && !note;
  box.classList.toggle("bad", problems.length > 0);
  box.replaceChildren(
    ...problems.map(({ label, message }) => made("p", "", label ? `${label}: ${message}` : message)),
    ...(note ? [made("p", "", note)] : []),
  );
}

document.addEventListener("input", (event) => {
  const field = event.target.closest?.(".field.wrong");
  if (field) clear(field);
});
watch("value", tell);
watch("fields", tellQuietly);
