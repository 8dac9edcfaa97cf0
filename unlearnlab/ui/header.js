// The switch between light and dark. Runs as the body of a function of (element).
// Without a choice the system's preference stands, as Gradio applies it.
const KEY = "unlearnlab-theme";
const asked = new URLSearchParams(location.search).get("__theme");
const chosen = asked || localStorage.getItem(KEY);
if (chosen) document.body.classList.toggle("dark", chosen === "dark");
element.querySelector(".theme").addEventListener("click", () => {
  const dark = document.body.classList.toggle("dark");
  localStorage.setItem(KEY, dark ? "dark" : "light");
});

// What runs is shown by a click on how many run.
const queue = element.querySelector("#chip-queue");
queue.closest("button").addEventListener("click", () => {
  document.dispatchEvent(new Event("open-running"));
});

// A link to a method's card opens its tab first: tabs are drawn only when they are opened.
function follow() {
  if (!location.hash.startsWith("#method-")) return;
  const id = decodeURIComponent(location.hash.slice(1));
  const seek = (tries) => {
    const card = document.getElementById(id);
    if (card && card.offsetParent !== null) {
      card.scrollIntoView();
      // Formulas are drawn a moment later and push what is below them down.
      setTimeout(() => card.scrollIntoView(), 400);
    } else if (tries > 0) {
      document.getElementById("tab-methods-button")?.click();
      setTimeout(() => seek(tries - 1), 100);
    }
  };
  seek(50);
}
window.addEventListener("hashchange", follow);
follow();
