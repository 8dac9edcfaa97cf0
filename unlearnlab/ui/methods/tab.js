// The button of a method's card. Runs as the body of a function of (element, trigger).
element.addEventListener("click", (event) => {
  const button = event.target.closest("[data-preset]");
  if (!button) return;
  trigger("use_preset", { preset: button.dataset.preset });
  // The form is on another tab: the reader goes there, at its top.
  const form = document.getElementById("tab-unlearn");
  const arrive = new MutationObserver(() => {
    if (form.offsetParent === null) return;
    arrive.disconnect();
    scrollTo({ top: 0 });
    document.getElementById("tab-unlearn-button")?.focus({ preventScroll: true });
  });
  arrive.observe(document.getElementById("tabs"), { attributes: true, subtree: true });
});
