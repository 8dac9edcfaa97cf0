// The maps of a trace: blocks are chosen by dragging over any of them.
// Runs as the body of a function of (element, trigger, watch). The server has drawn them.
let from = null;

function selects() {
  return [...element.querySelectorAll(".use-layers select")];
}

function chosen() {
  const [low, high] = selects()
    .map((one) => Number(one.value))
    .sort((a, b) => a - b);
  return { first: low, last: high };
}

function paint() {
  if (!selects().length) return;
  const { first, last } = chosen();
  for (const cell of element.querySelectorAll("[data-block]")) {
    const block = Number(cell.dataset.block);
    cell.classList.toggle("chosen", block >= first && block <= last);
  }
}

function choose(one, other) {
  const [first, last] = selects();
  first.value = String(Math.min(one, other));
  last.value = String(Math.max(one, other));
  paint();
}

function blockAt(event) {
  const cell = document
    .elementFromPoint(event.clientX, event.clientY)
    ?.closest(".heat [data-block]");
  return cell && element.contains(cell) ? Number(cell.dataset.block) : null;
}

element.addEventListener("pointerdown", (event) => {
  const block = event.button === 0 ? blockAt(event) : null;
  if (block === null) return;
  event.preventDefault();
  from = block;
  choose(block, block);
});
window.addEventListener("pointermove", (event) => {
  const block = from === null ? null : blockAt(event);
  if (block !== null) choose(from, block);
});
for (const end of ["pointerup", "pointercancel"])
  window.addEventListener(end, () => {
    from = null;
  });
element.addEventListener("change", paint);
element.addEventListener("click", (event) => {
  if (event.target.closest("button.use")) trigger("use_layers", chosen());
});

watch("value", () => setTimeout(paint, 0));
paint();
