// Buttons in what the server draws: each names its event, and hands over what else it carries.
// Runs as the body of a function of (element, trigger).
element.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-event]");
  if (!button || button.disabled) return;
  const { event: name, ...carried } = button.dataset;
  trigger(name, carried);
});
