// What can be taken away from a run. Runs as the body of a function of
// (element, trigger, props, server, watch). Files come as text through the page's own connection.
const card = element.querySelector(".takeaway");
const list = element.querySelector(".takeaway-items");
const said = element.querySelector(".takeaway-said");
const part = (name) => element.querySelector(`[data-part="${name}"]`);
let shown = "";

function made(tag, name, text) {
  return Object.assign(document.createElement(tag), { className: name, textContent: text });
}

function tell(text, bad = false) {
  said.textContent = text;
  said.classList.toggle("bad", bad);
}

function save(name, data) {
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  const address = URL.createObjectURL(new Blob([bytes]));
  const link = Object.assign(document.createElement("a"), { href: address, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 60000);
}

async function take(what, action, button) {
  const run = props.value.run;
  button.disabled = true;
  tell("");
  try {
    const masked = part("mask").querySelector("input").checked;
    const answer = await server.take_away({ run, what, action, masked });
    if (answer.problem) tell(answer.problem, true);
    else if (answer.data) save(answer.name.split("/").pop(), answer.data);
    else {
      model({ state: "busy", told: answer.note });
      document.dispatchEvent(new Event("asked"));
    }
  } catch {
    tell("The server did not answer: it may have ended.", true);
  } finally {
    button.disabled = false;
  }
}

function item(one) {
  const line = made("li", "", "");
  const button = made("button", "takeaway-item", "");
  button.type = "button";
  button.dataset.what = one.what;
  button.append(made("b", "", one.title), made("span", "", one.about));
  if (one.missing) {
    button.setAttribute("aria-disabled", "true");
    button.lastChild.textContent = `None: ${one.missing}`;
  } else {
    const action = one.what === "model" ? "folder" : "file";
    button.addEventListener("click", () => take(one.what, action, button));
  }
  line.append(button);
  return line;
}

function model(now) {
  const box = part("model");
  box.hidden = !now || now.state === "none";
  if (box.hidden) return;
  box.dataset.state = now.state;
  box.querySelector("b").textContent = "Merged model";
  box.querySelector("code").textContent = now.path || "";
  box.querySelector("span").textContent = now.told;
  part("stop").hidden = now.state !== "busy";
  part("use").hidden = !now.path;
  part("copy").hidden = !now.path || !navigator.clipboard;
  part("zip").hidden = !now.small;
  const button = list.querySelector('[data-what="model"]');
  if (button) button.disabled = now.state === "busy";
}

function load() {
  const value = props.value || { run: "" };
  card.hidden = !value.run;
  part("later").hidden = Boolean(value.ended);
  part("mask").hidden = !value.ended;
  const now = JSON.stringify([value.run, value.items]);
  if (now !== shown) {
    shown = now;
    list.replaceChildren(...(value.items || []).map(item));
    tell("");
  }
  model(value.model);
}

part("stop").addEventListener("click", (event) => take("model", "stop", event.target));
part("use").addEventListener("click", () => trigger("use_model", { run: props.value.run }));
part("copy").addEventListener("click", async () => {
  await navigator.clipboard.writeText(props.value.model.path);
  tell("The path is copied.");
});
part("zip").addEventListener("click", (event) => take("model", "file", event.target));
watch("value", load);
load();
