// What can be exported from a run; the server draws it. Runs as the body of a function of
// (element, trigger, props, server, watch). Files come as text through the page's own connection.
const said = element.querySelector(".takeaway-said");

function tell(text, bad = false) {
  said.textContent = text;
  said.classList.toggle("bad", bad);
}

async function take(what, action, pressed) {
  pressed.disabled = true;
  tell("");
  try {
    const masked = part("mask").querySelector("input").checked;
    const answer = await server.take_away({ run: props.value.run, what, action, masked });
    if (answer.problem) tell(answer.problem, true);
    else if (answer.data) save(answer.name.split("/").pop(), answer.data);
    else {
      fill("model", answer.model);
      document.dispatchEvent(new Event("asked"));
    }
  } catch (error) {
    tell(problemOf(error), true);
  } finally {
    pressed.disabled = false;
  }
}

element.addEventListener("click", async (event) => {
  const pressed = event.target.closest("button[data-action]");
  if (!pressed || pressed.getAttribute("aria-disabled")) return;
  const { what = "model", action } = pressed.dataset;
  if (action === "use") return trigger("use_model", { run: props.value.run });
  if (action !== "copy") return take(what, action, pressed);
  await navigator.clipboard.writeText(element.querySelector(".takeaway-model code").textContent);
  tell("The path is copied.");
});

function fill(name, html) {
  const changed = part(name).drawn !== html;
  if (changed) part(name).innerHTML = part(name).drawn = html;
  return changed;
}

function load() {
  const { run, ended, items = "", model = "" } = props.value || {};
  element.querySelector(".takeaway").hidden = !run;
  show("later", !ended);
  show("mask", Boolean(ended));
  if (fill("items", items)) tell("");
  fill("model", model);
  for (const copy of element.querySelectorAll('[data-action="copy"]'))
    copy.hidden = !navigator.clipboard;
}

watch("value", load);
load();
