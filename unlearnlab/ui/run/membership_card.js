// The membership attack: losses of documents before and after, ROC, and a threshold to move.
// Runs as the body of a function of (element, props, server, watch). Losses that are not finite
// come as null and count as the highest.
const card = element.querySelector(".membership");
const slider = element.querySelector(".threshold input");
const STEPS = 1000;
const BINS = 28;
const APART = 4; // Times that one model's losses may exceed the other's on a common axis.
const WAIT_MS = 200;
const newest = latest();
let view = "attack";
let drawn = "";
let moved = "";
let threshold = 0;
let timer = null;
let near = false; // Whether the card is on the screen: above it, nothing waits for its drawings.
let due = false; // Whether its documents are still to be asked for.

function models() {
  return props.value?.models || [];
}

function finite(model) {
  return [...model.member, ...model.nonmember].filter((loss) => loss !== null);
}

// From a little below the lowest loss to a little above the highest.
function span(some) {
  const all = some.flatMap(finite);
  const low = Math.min(...all, Infinity);
  const high = Math.max(...all, -Infinity);
  if (low > high) return [0, 1];
  const edge = (high - low) * 0.04 || 0.05;
  return [Math.max(0, low - edge), high + edge];
}

function apart() {
  const tops = models().map((model) => Math.max(...finite(model), 0));
  return Math.max(...tops) > APART * Math.min(...tops);
}

function judged() {
  return models()[models().length - 1];
}

function rates(model) {
  const share = (side) =>
    side.filter((loss) => loss !== null && loss < threshold).length / side.length;
  return { tpr: share(model.member), fpr: share(model.nonmember) };
}

// ---- what is drawn ---------------------------------------------------------------------------

function histograms() {
  const common = span(models());
  return models().flatMap((model, at) => {
    const [start, end] = apart() ? span([model]) : common;
    const xbins = { start, end, size: (end - start) / BINS };
    const axes = { xaxis: `x${at + 1}`, yaxis: `y${at + 1}` };
    const last = model === judged();
    return [
      ["nonmember", "unseen", "mute", 0.45],
      ["member", "members", "membership", last ? 0.8 : 0.5],
    ].map(([side, name, role, share]) => ({
      ...axes,
      type: "histogram",
      x: model[side],
      xbins,
      autobinx: false,
      name,
      marker: { color: `--${role}/${share}` },
      hovertemplate: `%{y} ${name}, loss %{x}<extra></extra>`,
    }));
  });
}

function lines(ink = "--ink") {
  return models().map((_, at) => ({
    type: "line",
    xref: `x${at + 1}`,
    yref: `y${at + 1} domain`,
    x0: threshold,
    x1: threshold,
    y0: 0,
    y1: 1,
    line: { color: ink, width: 1.5, dash: "dot" },
  }));
}

function lossLayout() {
  const count = models().length;
  const found = {
    height: count > 1 ? 330 : 220,
    margin: { l: 34, r: 8, t: 22, b: 38 },
    dragmode: false,
    barmode: "overlay",
    bargap: 0.04,
    grid: { rows: count, columns: 1, pattern: "independent", ygap: apart() ? 0.42 : 0.3 },
    shapes: lines(),
    annotations: models().map((model, at) => ({
      text: `${model.title}, documents by loss`,
      xref: `x${at + 1} domain`,
      yref: `y${at + 1} domain`,
      x: 0,
      y: 1,
      xanchor: "left",
      yanchor: "bottom",
      showarrow: false,
      font: { size: 13, color: "--ink" },
    })),
  };
  models().forEach((model, at) => {
    const last = at === count - 1;
    found[`xaxis${at + 1}`] = {
      fixedrange: true,
      range: apart() ? span([model]) : span(models()),
      showgrid: false,
      title: last ? "loss of a document, nats per token" : undefined,
    };
    found[`yaxis${at + 1}`] = { fixedrange: true, nticks: 4, rangemode: "tozero" };
  });
  return found;
}

function curves() {
  const looks = { original: [0.45, "solid"], unlearned: [1, "solid"] };
  const line = (points, name, colouring, dash) => ({
    x: points.map((point) => point[0]),
    y: points.map((point) => point[1]),
    name,
    mode: "lines",
    line: { color: colouring, width: 2, dash },
    hovertemplate: `${name}: FPR %{x:.2f}, TPR %{y:.2f}<extra></extra>`,
  });
  const found = models().map((model) => {
    const [share, dash] = looks[model.name];
    return line(model.roc, model.title, `--membership/${share}`, dash);
  });
  const gold = props.value.retrained;
  if (gold.length) found.push(line(gold, "Retrained model", "--mute", "dash"));
  return [
    ...found,
    {
      x: [0, 1],
      y: [0, 1],
      mode: "lines",
      line: { color: "--edge", width: 1, dash: "dot" },
      hoverinfo: "skip",
    },
    {
      x: models().map((model) => rates(model).fpr),
      y: models().map((model) => rates(model).tpr),
      mode: "markers",
      marker: { size: 9, color: "--card", line: { color: "--ink", width: 2 } },
      hoverinfo: "skip",
    },
  ];
}

function rocLayout() {
  const range = [-0.03, 1.03];
  return {
    height: 330,
    margin: { l: 62, r: 8, t: 22, b: 38 },
    dragmode: false,
    xaxis: { fixedrange: true, range, dtick: 0.25, title: "false alarms (FPR)" },
    yaxis: { fixedrange: true, range, dtick: 0.25, title: "members found (TPR)" },
    annotations: [
      {
        text: "ROC",
        xref: "paper",
        yref: "paper",
        x: 0,
        y: 1,
        xanchor: "left",
        yanchor: "bottom",
        showarrow: false,
        font: { size: 13, color: "--ink" },
      },
    ],
  };
}

function draw() {
  const hidden = !near || part("losses").offsetParent === null;
  if (!window.Charts || !models().length || hidden) return;
  window.Charts.draw(part("losses"), {
    data: histograms(),
    layout: lossLayout(),
    name: "membership-losses",
    title: "Documents by loss",
    summary: `Losses of members and of unseen documents. ${judged().reading}`,
    table: lossTable,
  });
  drawRoc();
}

function drawRoc() {
  const aucs = models().map((model) => `${model.title} ${model.auc}`);
  window.Charts.draw(part("roc"), {
    data: curves(),
    layout: rocLayout(),
    name: "membership-roc",
    title: "ROC of the membership attack",
    summary: `ROC curve of the membership attack. Area: ${aucs.join(", ")}`,
  });
}

function lossTable() {
  const rows = models().flatMap((model) =>
    ["member", "nonmember"].flatMap((side) =>
      model[side].map((loss) => [model.title, side, loss]),
    ),
  );
  return [["model", "document", "loss, nats per token"], ...rows];
}

function fill() {
  const rows = models().map((model) => {
    const { tpr, fpr } = rates(model);
    const line = document.createElement("tr");
    const head = made("th", "", model.title);
    head.scope = "row";
    const auc = made("td", "", model.auc);
    auc.append(made("small", "", model.span));
    const gain = tpr - fpr;
    const signed = `${gain < 0 ? "−" : "+"}${Math.abs(gain).toFixed(2)}`;
    line.append(head, auc, ...[tpr.toFixed(2), fpr.toFixed(2), signed].map((t) => made("td", "", t)));
    return line;
  });
  element.querySelector(".rates tbody").replaceChildren(...rows);
  const text = `${threshold.toFixed(2)} nats per token`;
  element.querySelector(".threshold output").textContent = text;
  slider.setAttribute("aria-valuetext", text);
}

// ---- the threshold ---------------------------------------------------------------------------

function place() {
  const [low, high] = span(models());
  slider.value = String(Math.round(((threshold - low) / (high - low)) * STEPS));
}

async function ask() {
  const { run, masked } = props.value;
  try {
    const answer = await newest(server.wrong({ run, model: judged().name, threshold, masked }));
    if (answer) part("wrong").innerHTML = answered(answer, ["html"]).html;
  } catch (error) {
    part("wrong").textContent = problemOf(error);
  }
}

function later() {
  clearTimeout(timer);
  timer = setTimeout(ask, WAIT_MS);
}

slider.addEventListener("input", () => {
  const [low, high] = span(models());
  threshold = low + ((high - low) * Number(slider.value)) / STEPS;
  moved = props.value.drawn;
  fill();
  if (window.Plotly && part("losses").data) {
    const ink = window.Charts.colour(element, "ink");
    window.Plotly.relayout(part("losses"), { shapes: lines(ink) });
    drawRoc();
  }
  later();
});

element.addEventListener("click", (event) => {
  const pressed = event.target.closest("button[data-show]");
  if (!pressed) return;
  view = pressed.dataset.show;
  arrange();
  draw();
});

function arrange() {
  const none = !models().length;
  press(element.querySelectorAll("[data-show]"), (one) => one.dataset.show === view);
  show("attack", view === "attack" && !none);
  part("before").textContent = props.value.alone ? "ROC" : "ROC before";
  show("after", models().length > 1);
  show("gold", Boolean(props.value.retrained?.length));
  show("absent", view === "attack" && none);
  show("measures", view === "measures");
}

function load() {
  const value = props.value || { run: "" };
  card.hidden = !value.run;
  if (!value.run) return;
  const now = JSON.stringify([value.drawn, value.masked]);
  if (now === drawn) return;
  drawn = now;
  newest(null); // What was asked before may hold what is masked now.
  part("wrong").replaceChildren();
  part("measures").innerHTML = value.measures;
  part("absent").textContent = value.absent;
  if (models().length) {
    // A threshold that the reader has set stays while the same scores are shown.
    if (moved !== value.drawn) threshold = judged().threshold;
    element.querySelector(".reading").textContent = judged().reading;
    place();
    fill();
    due = true;
  }
  arrange();
  reveal();
}

function reveal() {
  draw();
  if (near && due) {
    due = false;
    ask();
  }
}

keepDrawn(draw);
new IntersectionObserver(
  (seen) => {
    near = seen[seen.length - 1].isIntersecting;
    reveal();
  },
  { rootMargin: "400px" },
).observe(element);
watch("value", () => setTimeout(load, 0));
load();
