// The list of what a run needs stays open or closed as the reader left it, whatever changes.

let open = false;

element.addEventListener(
  "toggle",
  (event) => {
    if (event.target.matches("details.needs")) open = event.target.open;
  },
  true,
);

watch("value", () =>
  setTimeout(() => {
    const needs = element.querySelector("details.needs");
    if (needs) needs.open = open;
  }, 0),
);
