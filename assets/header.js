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
