// Presentation mode: the run alone, in large type. By the button, the keys Alt+P, or ?present in
// the address; Escape ends it. Arrow keys step through the run. Runs behind header.js.
const PRESENT = "present";
const presenting = () => document.body.classList.contains(PRESENT);

function present(on) {
  if (on === presenting()) return;
  document.body.classList.toggle(PRESENT, on);
  element.querySelector("#present").setAttribute("aria-pressed", String(on));
  write(element.querySelector("#present"), on ? "End presentation" : "Present");
  const address = new URL(location.href);
  on ? address.searchParams.set(PRESENT, "") : address.searchParams.delete(PRESENT);
  history.replaceState(history.state, "", address);
  if (on) document.getElementById("tab-unlearn-button")?.click();
  window.scrollTo(0, 0);
  window.dispatchEvent(new Event("resize"));
}

const NO_TEXT = "[type=range], [type=checkbox], [type=radio], [type=button]";
const writes = (node) =>
  node.isContentEditable || (node.matches("input, textarea, select") && !node.matches(NO_TEXT));

element.querySelector("#present").addEventListener("click", () => present(!presenting()));
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") present(false);
  if (event.ctrlKey || event.metaKey || writes(event.target)) return;
  // By the key's place: with Alt, a Mac types another letter.
  if (event.altKey && event.code === "KeyP" && !event.repeat) present(!presenting());
  if (event.altKey || !presenting()) return;
  const way = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  // A slider and a list of tabs have arrow keys of their own.
  if (way && !event.target.matches('[type=range], [role="tab"]'))
    document.dispatchEvent(new CustomEvent("scrub", { detail: way }));
});
if (new URLSearchParams(location.search).has(PRESENT)) present(true);
