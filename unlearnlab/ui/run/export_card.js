// What can be taken away from a run. Runs as the body of a function of
// (element, trigger, props, server, watch). Files come as text through the page's own connection.
const card = element.querySelector(".takeaway");
const list = element.querySelector(".takeaway-items");
const said = element.querySelector(".takeaway-said");

function tell(text, bad = false) {
  said.textContent = text;
  said.classList.toggle("bad", bad);
}

async function take(what, action, pressed) {
  const run = props.value.run;
  pressed.disabled = true;
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
  } catch (error) {
    tell(problemOf(error), true);
  } finally {
    pressed.disabled = false;
  }
}

function item(one) {
  const line = made("li");
  const node = button("takeaway-item", "", { what: one.what });
  node.append(made("b", "", one.title), made("span", "", one.about));
  if (one.missing) {
    node.setAttribute("aria-disabled", "true");
    node.lastChild.textContent = `None: ${one.missing}`;
  } else {
    const action = one.what === "model" ? "folder" : "file";
    node.addEventListener("click", () => take(one.what, action, node));
  }
  line.append(node);
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
  show("stop", now.state === "busy");
  show("use", Boolean(now.path));
  show("copy", Boolean(now.path && navigator.clipboard));
  show("zip", Boolean(now.small));
  const write = list.querySelector('[data-what="model"]');
  if (write) write.disabled = now.state === "busy";
}

function load() {
  const value = props.value || { run: "" };
  card.hidden = !value.run;
  show("later", !value.ended);
  show("mask", Boolean(value.ended));
  if (refill(list, [value.run, value.items], () => (value.items || []).map(item))) tell("");
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
