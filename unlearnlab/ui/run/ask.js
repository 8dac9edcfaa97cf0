// Keeps a prompt that is being typed until it was asked: when a lost connection is back, Gradio loads
// the page again, and in between it calls no listener.
// Runs as the body of a function of (element).
const KEPT = "unlearnlab-prompt";

function box() {
  return document.querySelector("#ask-prompt textarea");
}

function keep() {
  if (box()) sessionStorage.setItem(KEPT, box().value);
}

// The box is drawn when a run is shown first.
function restore(tries) {
  const kept = sessionStorage.getItem(KEPT);
  if (!kept || tries === 0) return;
  if (!box()) return setTimeout(() => restore(tries - 1), 250);
  if (box().value) return;
  box().value = kept;
  box().dispatchEvent(new Event("input", { bubbles: true }));
}

document.addEventListener("input", (event) => {
  if (event.target === box()) keep();
});
// An accepted prompt has left the box then; a refused one is still there.
document.addEventListener("asked", () => setTimeout(keep, 500));
restore(40);
