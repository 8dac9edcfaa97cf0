// What the reader has folded open stays open when the server draws it anew: each by its first class.
// Runs as the body of a function of (element).
const open = new Map();

element.addEventListener(
  "toggle",
  (event) => {
    if (event.target.matches("details")) open.set(event.target.classList[0], event.target.open);
  },
  true,
);

new MutationObserver(() => {
  for (const fold of element.querySelectorAll("details")) {
    fold.open = open.get(fold.classList[0]) ?? fold.open;
  }
}).observe(element, { childList: true, subtree: true });
