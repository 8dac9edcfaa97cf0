// Says so where the page stands at another address than its program believes, as behind a proxy
// that serves it under a path: its requests would go elsewhere, and nothing would be drawn.
function tellMisplaced() {
  const { root } = window.gradio_config ?? {};
  if (!root) return;
  const path = (address) => address.pathname.replace(/\/+$/, "");
  const [here, there] = [new URL(location.pathname, location.origin), new URL(root, location.href)];
  const moved = here.origin !== there.origin;
  // Without the proxy the program answers at both addresses.
  if (!moved && ["", path(there)].includes(path(here))) return;
  const note = document.createElement("p");
  note.id = "misplaced";
  note.setAttribute("role", "alert");
  note.textContent =
    `This page stands at ${here.href}, but its program takes it to be at ${there.href}, so nothing ` +
    `here will work. Start the program with --root-path ${moved ? here.origin : ""}${path(here)}`;
  document.body.prepend(note);
}

if (document.readyState === "loading")
  document.addEventListener("DOMContentLoaded", tellMisplaced);
else tellMisplaced();
