// The list of phases. Runs as the body of a function of (element, trigger, props, watch).
// Settings quote what the user typed, so they go through textContent.
const list = element.querySelector(".phase-cards");
const note = element.querySelector(".phase-note");
const ONLY = "The only phase stays: a run needs at least one.";
let wanted = ""; // The action whose button had the focus: the phase moves, the focus goes along.

function tool(action, sign, words, disabled) {
  const node = button("quiet", sign, { action });
  node.title = words;
  node.setAttribute("aria-label", words);
  // Not `disabled`: such a button would lose the focus, and could not say why.
  if (disabled) node.setAttribute("aria-disabled", "true");
  return node;
}

function tools(at, count) {
  const box = made("div", "phase-tools");
  const name = `phase ${at + 1}`;
  const moves = [
    tool("earlier", "↑", `Move ${name} up`, at === 0),
    tool("later", "↓", `Move ${name} down`, at === count - 1),
  ];
  box.append(
    ...(count > 1 ? moves : []),
    tool("duplicate", "Duplicate", `Duplicate ${name}`, false),
    tool("remove", "Remove", `Remove ${name}`, count === 1),
  );
  return box;
}

function card(phase, at, value) {
  const here = at === value.editing;
  const item = made("li", "field");
  item.id = `phase-card-${at}`;
  item.classList.toggle("here", here);
  const choose = button("phase-card", "", { action: "show", phase: at });
  if (here) choose.setAttribute("aria-current", "true");
  const steps = value.steps[at];
  choose.append(
    made("span", "phase-number", String(at + 1)),
    made("b", "", phase.title),
    made("small", "phase-steps", steps ? `${steps} steps` : ""),
    made("small", "phase-settings", phase.settings),
  );
  item.append(choose);
  if (here) item.append(tools(at, value.cards.length));
  return item;
}

function load() {
  const value = props.value;
  if (!value || !value.cards) return;
  const held = element.contains(document.activeElement) && document.activeElement.dataset;
  const action = wanted || (held && held.action);
  list.replaceChildren(...value.cards.map((phase, at) => card(phase, at, value)));
  // A late answer to something typed redraws the same single phase: what was told still holds.
  if (value.cards.length > 1) note.textContent = "";
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
