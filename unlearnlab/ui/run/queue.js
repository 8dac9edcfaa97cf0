// The queue: its buttons say what they do as data. When the list is drawn anew, the page keeps its
// elements and fills them with other runs: so the focus follows the run that it was on.
// Runs as the body of a function of (element, trigger, watch).
const EVENTS = ["open", "move", "cancel", "take_up", "dismiss"]; // Gradio looks for their names here.
let focused = null;

element.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-event]");
  if (!button || button.disabled || !EVENTS.includes(button.dataset.event)) return;
  const { event: name, run = "", to = 0 } = button.dataset;
  focused = wanted(button);
  trigger(name, { run, to: Number(to) });
});

// What tells a button from all others: its run, and its place among the run's buttons.
function wanted(button) {
  return `${button.dataset.run} ${[...button.parentElement.children].indexOf(button)}`;
}

element.addEventListener("focusin", (event) => {
  const button = event.target.closest("button[data-event]");
  focused = button ? wanted(button) : null;
});
element.addEventListener("focusout", (event) => {
  if (event.relatedTarget) focused = null;
});

watch("value", () =>
  requestAnimationFrame(() => {
    const there = document.activeElement;
    if (!focused || (there !== document.body && !element.contains(there))) return;
    const buttons = [...element.querySelectorAll("button[data-event]")];
    const same = buttons.find((button) => wanted(button) === focused);
    // At the end of the list the button has nothing more to do: its neighbour takes over.
    const near = same?.disabled ? same.parentElement.querySelector("button:enabled") : same;
    (near || element.querySelector(".queue-tools button:enabled"))?.focus();
  }),
);
