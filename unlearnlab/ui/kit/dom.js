// What the scripts of the cards share. Stands before each of them, in the same function body, and
// uses its `element`. Text of models and users goes through textContent.

const part = (name) => element.querySelector(`[data-part="${name}"]`);

function made(tag, className = "", text = "") {
  return Object.assign(document.createElement(tag), { className, textContent: text });
}

function button(className, text, data = {}) {
  const node = made("button", className, text);
  node.type = "button";
  Object.assign(node.dataset, data);
  return node;
}

function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function show(name, visible) {
  part(name).hidden = !visible;
}

// Changes a node's children only when what they show has changed: focus and open lists stay.
function refill(box, shown, children) {
  const now = JSON.stringify(shown);
  if (box.dataset.of === now) return false;
  box.dataset.of = now;
  box.replaceChildren(...children());
  return true;
}

// Offers pairs of value and label; what was chosen stays where it is still offered.
function offer(select, pairs) {
  const held = select.value;
  if (!refill(select, pairs, () => pairs.map(([value, label]) => new Option(label, value)))) return;
  select.value = pairs.some(([value]) => value === held) ? held : (pairs[0]?.[0] ?? "");
}

// Draws HTML of the server; the keyboard's focus goes to the node of the same data-key.
function redraw(box, html, drawn = () => {}) {
  const key = box.contains(document.activeElement) && document.activeElement.dataset.key;
  box.innerHTML = html;
  drawn();
  if (key) box.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus();
}

function press(buttons, pressed) {
  for (const node of buttons) node.setAttribute("aria-pressed", String(pressed(node)));
}

// Fills the bars of progress, each a share of its own; `now` is the share of the whole.
function progress(card, shares, now, label) {
  const bars = card.querySelector(".bars");
  bars.querySelectorAll("u").forEach((bar, at) => (bar.style.width = `${100 * shares[at]}%`));
  bars.setAttribute("aria-valuenow", String(Math.round(100 * now)));
  if (label) bars.setAttribute("aria-label", label);
}

function chip(id, text) {
  const node = document.getElementById(id);
  if (!node || !text) return;
  write(node, text);
  node.closest(".chip").hidden = false;
}

// Returns a function that tells whether to report a change: each once in five seconds.
function once() {
  let told = { change: "", at: 0 };
  return (change) => {
    if (told.change === change && Date.now() - told.at < 5000) return false;
    told = { change, at: Date.now() };
    return true;
  };
}

// Draws a chart again when the theme changes, its tab opens or its card grows.
function keepDrawn(draw) {
  for (const root of [document.documentElement, document.body])
    new MutationObserver(draw).observe(root, { attributes: true, attributeFilter: ["class"] });
  new ResizeObserver(draw).observe(element);
}

// Saves a file whose content comes in base64.
function save(name, data, type = "") {
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  const href = URL.createObjectURL(new Blob([bytes], { type }));
  Object.assign(document.createElement("a"), { href, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(href), 60000);
}
