// What the reader has folded open stays open when the server draws it anew.
// Runs as the body of a function of (element, watch).
let open = false;

element.addEventListener(
  "toggle",
  (event) => {
    if (event.target.matches("details")) open = event.target.open;
  },
  true,
);

watch("value", () =>
  setTimeout(() => {
    const fold = element.querySelector("details");
    if (fold) fold.open = open;
  }, 0),
);
