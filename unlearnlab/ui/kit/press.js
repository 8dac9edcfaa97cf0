// A press right after a choice waits until the form shows what was chosen: on a slow line it would
// start what the form held before.
const WAITING = "#unlearn, #score, #sweep-start, #trace";
const LONGEST_MS = 20_000;
let choices = 0;
let pressed = null;
let timer;

function released() {
  clearTimeout(timer);
  choices = 0;
  pressed?.click();
  pressed = null;
}

document.addEventListener("choice-asked", () => {
  choices += 1;
  clearTimeout(timer);
  timer = setTimeout(released, LONGEST_MS);
});
document.addEventListener("choice-answered", () => {
  choices -= 1;
  if (choices <= 0) released();
});
document.addEventListener(
  "click",
  (event) => {
    const target = choices > 0 && event.target.closest?.(WAITING);
    if (!target) return;
    event.stopPropagation();
    pressed = target;
  },
  true,
);
