// The table of answers, drawn by the server: its buttons sort it and turn its pages. What was
// pressed keeps the keyboard's focus when the table is drawn anew.
// Runs as the body of a function of (element, trigger, watch).
let pressed = "";

element.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button || button.disabled) return;
  const { page, event: name, key } = button.dataset;
  pressed = name === "sort" ? `[data-key="${key}"]` : `[aria-label="${button.ariaLabel}"]`;
  if (page !== undefined) {
    const detail = { of: "answers", page: Number(page) };
    document.dispatchEvent(new CustomEvent("turn", { detail }));
  }
  if (name === "sort") trigger("sort", { key });
});

watch("value", () => {
  if (!pressed) return;
  const again = pressed;
  pressed = "";
  requestAnimationFrame(() => {
    if (document.activeElement === document.body)
      element.querySelector(`button${again}:not(:disabled)`)?.focus({ preventScroll: true });
  });
});
