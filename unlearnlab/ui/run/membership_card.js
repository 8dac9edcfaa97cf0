// The card of the membership attack: moves its threshold, and asks for the documents it
// misclassifies. Runs as the body of a function of (element, props, server, watch). The server draws
// the rest; a loss of null is not finite and counts as the highest.
const card = element.querySelector(".membership");
const WAIT_MS = 200;
const newest = latest();
let drawn = "";
let moved = ""; // The scores for which the reader has moved the threshold.
let threshold = 0;
let timer = null;

function fill() {
  const rates = props.value.models.map((sides) =>
    sides.map((side) => side.filter((loss) => loss !== null && loss < threshold).length / side.length),
  );
  element.querySelectorAll(".rates tbody tr").forEach((row, at) => {
    const [found, alarms] = rates[at];
    const gain = found - alarms;
    const signed = `${gain < 0 ? "−" : "+"}${Math.abs(gain).toFixed(2)}`;
    [found.toFixed(2), alarms.toFixed(2), signed].forEach((text, column) =>
      write(row.cells[column + 2], text),
    );
  });
  const text = `${threshold.toFixed(2)} nats per token`;
  element.querySelector(".threshold output").textContent = text;
  element.querySelector(".threshold input").setAttribute("aria-valuetext", text);
  const [losses, roc] = [...element.querySelectorAll(".plot")].map(window.Charts.figure);
  for (const line of losses.layout.shapes) line.x0 = line.x1 = threshold;
  const marks = roc.data.at(-1);
  [marks.y, marks.x] = [0, 1].map((of) => rates.map((one) => one[of]));
}

async function ask() {
  const { run, model, masked } = props.value;
  try {
    const answer = await newest(server.wrong({ run, model, threshold, masked }));
    if (answer) part("wrong").innerHTML = answered(answer, ["html"]).html;
  } catch (error) {
    part("wrong").textContent = problemOf(error);
  }
}

element.addEventListener("input", (event) => {
  if (!event.target.matches(".threshold input")) return;
  threshold = Number(event.target.value);
  moved = props.value.drawn;
  fill();
  element.querySelectorAll(".plot").forEach(window.Charts.redraw);
  clearTimeout(timer);
  timer = setTimeout(ask, WAIT_MS);
});

element.addEventListener("click", (event) => {
  const view = event.target.closest("button[data-show]")?.dataset.show;
  if (!view) return;
  press(element.querySelectorAll("[data-show]"), (one) => one.dataset.show === view);
  show("attack", view === "attack");
  show("documents", view === "documents");
  show("measures", view === "measures");
});

function load() {
  const value = props.value || { run: "" };
  card.hidden = !value.run;
  const now = JSON.stringify([value.drawn, value.masked]);
  if (!value.run || now === drawn) return;
  if (!window.Charts) return void setTimeout(load, 100);
  drawn = now;
  newest(null); // What was asked before may hold what is masked now.
  part("attack").innerHTML = value.attack;
  part("documents").innerHTML = value.documents;
  part("measures").innerHTML = value.measures;
  if (!value.models.length) return;
  if (moved !== value.drawn) threshold = value.threshold;
  element.querySelector(".threshold input").value = threshold;
  fill();
  ask();
}

watch("value", () => setTimeout(load, 0));
load();
