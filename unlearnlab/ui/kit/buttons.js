// Buttons in what the server draws: each names its event, and hands over what else it carries.
// One that asks whether it is meant is pressed twice. Runs as the body of a function of
// (element, trigger).
const EVENTS = ["look_up", "pick_rows", "all_rows", "show_tokens", "use", "remove", "unlearn_next", "teach_first", "only_known", "open_term", "ready", "reproduce", "open"];
let armed = null;

function disarm() {
  if (!armed) return;
  armed.button.innerHTML = armed.html;
  armed.button.classList.remove("armed");
  armed = null;
}

element.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-event]");
  if (!button || button.disabled || !EVENTS.includes(button.dataset.event)) return;
  const { event: name, confirm, ...carried } = button.dataset;
  if (confirm && armed?.button !== button) {
    disarm();
    armed = { button, html: button.innerHTML };
    button.textContent = confirm;
    button.classList.add("armed");
    return;
  }
  disarm();
  trigger(name, carried);
});
element.addEventListener("focusout", disarm);
