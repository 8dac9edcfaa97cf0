// The list of phases, drawn by the server. Runs as the body of a function of (element, trigger,
// props, watch).
const list = element.querySelector(".phase-cards");
const note = element.querySelector(".phase-note");
const ONLY = "The only phase stays: a run needs at least one.";
let wanted = ""; // The action whose button had the focus: the phase moves, the focus goes along.

function load() {
  if (!props.value) return;
  const held = element.contains(document.activeElement) && document.activeElement.dataset;
  const action = wanted || (held && held.action);
  list.innerHTML = props.value;
  // A late answer to something typed redraws the same single phase: what was told still holds.
  if (list.children.length > 1) note.textContent = "";
  if (!action || action === "add") return;
  const chosen = list.querySelector(`.here [data-action="${action}"]`);
  (chosen || list.querySelector(".here .phase-card"))?.focus();
  wanted = "";
}

element.addEventListener("click", (event) => {
  const pressed = event.target.closest("button");
  if (!pressed?.dataset.action) return;
  const { action, phase } = pressed.dataset;
  if (pressed.getAttribute("aria-disabled")) {
    note.textContent = action === "remove" ? ONLY : "";
    return;
  }
  wanted = action;
  trigger("rearrange", { action, phase: Number(phase ?? 0) });
});
watch("value", load);
load();
