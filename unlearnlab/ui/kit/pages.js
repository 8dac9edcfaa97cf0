// Tables drawn by the server: their buttons carry what they do as data, and one listener sends it.
// Runs as the body of a function of (element, trigger).
element.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button || button.disabled) return;
  const { page, open, load, replay } = button.dataset;
  if (page !== undefined) {
    const detail = { of: element.closest("[id]").id, page: Number(page) };
    document.dispatchEvent(new CustomEvent("turn", { detail }));
  }
  if (open !== undefined) trigger("open", { run: open });
  if (load !== undefined) trigger("load_settings", { run: load });
  if (replay !== undefined) trigger("replay", { run: replay });
});
