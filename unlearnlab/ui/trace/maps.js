// The maps of a trace: blocks are chosen by dragging over any of them; the curves are drawn here.
// Runs as the body of a function of (element, trigger, watch). The server has drawn the rest.
const LOOKS = {
  before: { colour: "mute", dash: "dot" },
  first: { colour: "trace", dash: "dot" },
  middle: { colour: "trace", dash: "dash" },
  "last subject": { colour: "trace", dash: "solid" },
  after: { colour: "mute", dash: "dash" },
  last: { colour: "ink", dash: "solid" },
};
let from = null;

function selects() {
  return [...element.querySelectorAll(".use-layers select")];
}

function chosen() {
  const [low, high] = selects()
    .map((one) => Number(one.value))
    .sort((a, b) => a - b);
  return { first: low, last: high };
}

function paint() {
  if (!selects().length) return;
  const { first, last } = chosen();
  for (const cell of element.querySelectorAll("[data-block]")) {
    const block = Number(cell.dataset.block);
    cell.classList.toggle("chosen", block >= first && block <= last);
  }
}

function choose(one, other) {
  const [first, last] = selects();
  first.value = String(Math.min(one, other));
  last.value = String(Math.max(one, other));
  paint();
}

function blockAt(event) {
  const cell = document
    .elementFromPoint(event.clientX, event.clientY)
    ?.closest(".heat [data-block]");
  return cell && element.contains(cell) ? Number(cell.dataset.block) : null;
}

element.addEventListener("pointerdown", (event) => {
  const block = event.button === 0 ? blockAt(event) : null;
  if (block === null) return;
  event.preventDefault();
  from = block;
  choose(block, block);
});
window.addEventListener("pointermove", (event) => {
  const block = from === null ? null : blockAt(event);
  if (block !== null) choose(from, block);
});
for (const end of ["pointerup", "pointercancel"])
  window.addEventListener(end, () => {
    from = null;
  });
element.addEventListener("change", paint);
element.addEventListener("click", (event) => {
  if (event.target.closest("button.use")) trigger("use_layers", chosen());
});

// ---- curves ----------------------------------------------------------------------------------

function lines(curves, names, axis) {
  return Object.entries(curves).flatMap(([role, { mean, sd }]) => {
    const look = LOOKS[role];
    const x = mean.map((_, block) => block);
    const edge = (sign) => mean.map((value, block) => value + sign * sd[block]);
    const base = { x, xaxis: `x${axis}`, yaxis: `y${axis}`, mode: "lines", type: "scatter" };
    const none = { ...base, line: { width: 0 }, hoverinfo: "skip" };
    // Six bands on one another are mud: only the two roles that carry most are shaded.
    const shaded = ["last subject", "last"].includes(role) && sd.some((one) => one > 0);
    const band = [
      { ...none, y: edge(-1) },
      { ...none, y: edge(1), fill: "tonexty", fillcolor: `--${look.colour}/0.16` },
    ];
    const line = {
      ...base,
      y: mean,
      customdata: sd,
      name: names[role],
      line: {
        color: `--${look.colour}`,
        dash: look.dash,
        width: role.startsWith("last") ? 2.5 : 1.6,
      },
      hovertemplate: sd.some((one) => one > 0)
        ? "%{y:.2f} ± %{customdata:.2f}"
        : "%{y:.2f}",
    };
    return shaded ? [...band, line] : [line];
  });
}

function extent(parts) {
  const all = parts.flatMap((curves) =>
    Object.values(curves).flatMap(({ mean, sd }) =>
      mean.flatMap((value, block) => [value - sd[block], value + sd[block]]),
    ),
  );
  return [Math.min(-0.02, ...all) - 0.02, Math.max(0.1, ...all) + 0.03];
}

function layout(parts, titles, narrow) {
  const range = extent(Object.values(parts));
  const found = {
    height: narrow ? 640 : 300,
    margin: { l: 44, r: 8, t: 26, b: 36 },
    hovermode: "x unified",
    dragmode: false,
    grid: narrow
      ? { rows: 3, columns: 1, pattern: "independent", ygap: 0.3 }
      : { rows: 1, columns: 3, pattern: "independent", xgap: 0.06 },
    annotations: Object.keys(parts).map((name, at) => ({
      text: titles[name],
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
  Object.keys(parts).forEach((_, at) => {
    const last = at === 2 || !narrow;
    found[`xaxis${at + 1}`] = {
      fixedrange: true,
      showgrid: false,
      tickformat: "d",
      title: last ? "block" : undefined,
    };
    found[`yaxis${at + 1}`] = {
      fixedrange: true,
      range,
      dtick: 0.25,
      zeroline: true,
      zerolinecolor: "--edge",
      showticklabels: at === 0 || narrow,
    };
  });
  return found;
}

function draw() {
  const plot = element.querySelector(".plot[data-curves]");
  if (!plot || !window.Charts || plot.offsetParent === null) return;
  const { curves, names, titles } = JSON.parse(plot.dataset.curves);
  const drawn = Object.values(curves).flatMap((one, at) => lines(one, names, at + 1));
  const narrow = element.clientWidth < 620;
  const series = Object.entries(curves).flatMap(([part, roles]) =>
    Object.entries(roles).flatMap(([role, { mean, sd }]) =>
      mean.map((value, block) => [titles[part], names[role], block, value, sd[block]]),
    ),
  );
  window.Charts.draw(plot, {
    data: drawn,
    layout: layout(curves, titles, narrow),
    name: "trace-by-block",
    title: "Indirect effect by block",
    summary: summary(curves, names, titles),
    table: [["part", "token", "block", "indirect effect", "sd"], ...series],
  });
}

function summary(curves, names, titles) {
  const peaks = Object.entries(curves).map(([part, roles]) => {
    const [role, { mean }] = Object.entries(roles).reduce((one, other) =>
      Math.max(...other[1].mean) > Math.max(...one[1].mean) ? other : one,
    );
    const top = Math.max(...mean);
    return `${titles[part]} highest at block ${mean.indexOf(top)}, ${names[role]}: ${top.toFixed(2)}`;
  });
  return `Indirect effect by block and role of token. ${peaks.join("; ")}`;
}

function refresh() {
  paint();
  draw();
}

keepDrawn(draw);
watch("value", () => setTimeout(refresh, 0));
refresh();
