// The one look of all charts, and what a reader can save of each: PNG, SVG, data as CSV.
// Stands in the head of the page. A figure of the server, `.plot[data-figure]`, is drawn by itself
// wherever it appears; other scripts call `Charts.draw`. Colours are named `--forget` or
// `--forget/0.2` and looked up in the style sheet when they are drawn, so that they follow the theme.
window.Charts ??= (() => {
  const SMALL = 12.5;
  const NARROW = 560;
  const SAVED = { width: 900, scale: 2.4, above: 46 };
  const NAMES = { letter: 7, mark: 54, line: 20, edge: 12 }; // Of a legend, in pixels.
  const shown = new WeakMap(); // What was drawn into a plot.
  const whole = new Map(); // By name of a thinned figure: what fetches all its rows.
  const followed = new WeakSet(); // Plots of the server that are drawn as they change their size.
  const read = new WeakMap(); // What the server says of a plot, as text and as a figure.
  let queued = false;

  function colour(element, name) {
    return getComputedStyle(element).getPropertyValue(`--${name}`).trim();
  }

  function painted(element, text) {
    const [name, share] = text.slice(2).split("/");
    const hex = colour(element, name);
    if (!hex) return text; // Somebody's words that only look like a colour's name.
    if (!share) return hex;
    const [r, g, b] = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
    return `rgba(${r},${g},${b},${share})`;
  }

  // Long lists of numbers are handed on as they are.
  function coloured(element, value) {
    if (typeof value === "string")
      return /^--[a-z][\w-]*(\/[\d.]+)?$/.test(value) ? painted(element, value) : value;
    if (Array.isArray(value)) {
      const numbers = typeof (value[0] ?? value.at(-1) ?? 0) === "number";
      return numbers && typeof value.at(-1) !== "string"
        ? value
        : value.map((one) => coloured(element, one));
    }
    if (!value || typeof value !== "object") return value;
    return Object.fromEntries(
      Object.entries(value).map(([key, one]) => [key, coloured(element, one)]),
    );
  }

  // ---- the theme -----------------------------------------------------------------------------

  function axis(given) {
    const title = typeof given.title === "string" ? { text: given.title } : given.title;
    return {
      gridcolor: "--line",
      linecolor: "--line",
      zeroline: false,
      ...given,
      tickfont: { size: SMALL, ...given.tickfont },
      title: title && { font: { size: SMALL, color: "--mute" }, standoff: 6, ...title },
    };
  }

  function themed(plot, layout) {
    const axes = Object.entries(layout).filter(([key]) => /^[xy]axis\d*$/.test(key));
    return coloured(plot, {
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: getComputedStyle(plot).fontFamily, size: 13, color: "--mute" },
      showlegend: false,
      // Given outright: left to itself, a plot keeps the width it was first drawn with.
      width: plot.clientWidth,
      hoverlabel: {
        bgcolor: "--card",
        bordercolor: "--edge",
        font: { color: "--ink", size: 13 },
      },
      ...layout,
      ...Object.fromEntries(axes.map(([key, given]) => [key, axis(given)])),
    });
  }

  // Unless a chart has a place for them, the names of its lines stand below it, in as many rows as
  // they need in its width.
  function withNames(layout, data, width) {
    const names = named(data).map((trace) => trace.name.length);
    const column = NAMES.mark + NAMES.letter * Math.max(...names, 1);
    const rows = Math.ceil(names.length / Math.max(1, Math.floor((width - 60) / column)));
    const room = NAMES.edge + NAMES.line * rows;
    return {
      ...layout,
      height: layout.height + room,
      margin: { ...layout.margin, b: (layout.margin?.b ?? 40) + room },
      legend: {
        orientation: "h",
        x: 0,
        yref: "container",
        y: 0,
        yanchor: "bottom",
        font: { color: "--ink", size: SMALL },
      },
    };
  }

  // `figure` has data, layout, name (of files), title, summary (for a screen reader), and table
  // (rows of the CSV or what fetches them, where the traces do not say it).
  function draw(plot, figure) {
    if (!window.Plotly || plot.offsetParent === null) return;
    shown.set(plot, figure);
    const { data, layout } = figure;
    const own = !layout.showlegend || layout.legend;
    const options = {
      displaylogo: false,
      displayModeBar: false,
      doubleClick: "reset",
    };
    window.Plotly.react(
      plot,
      coloured(plot, data),
      themed(plot, own ? layout : withNames(layout, data, plot.clientWidth)),
      options,
    );
    plot.setAttribute("role", "img");
    plot.setAttribute("aria-label", figure.summary);
  }

  // ---- figures of the server -----------------------------------------------------------------

  const sizes = new ResizeObserver((seen) => seen.forEach(({ target }) => redraw(target)));

  // What the server says of a plot; a script may change it and draw the plot anew.
  function figure(plot) {
    const text = plot.dataset.figure;
    if (read.get(plot)?.text !== text) read.set(plot, { text, figure: JSON.parse(text) });
    return read.get(plot).figure;
  }

  // On a narrow card a figure takes what its narrow layout says, and its marks lose their names.
  function redraw(plot) {
    draw(plot, plot.clientWidth < NARROW ? narrowed(figure(plot)) : figure(plot));
  }

  function narrowed(figure) {
    const layout = { ...figure.layout };
    for (const [key, given] of Object.entries(figure.narrow))
      layout[key] = given?.constructor === Object ? { ...layout[key], ...given } : given;
    const data = figure.data.map((trace) => ({
      ...trace,
      mode: trace.mode === "markers+text" ? "markers" : trace.mode,
    }));
    return { ...figure, data, layout };
  }

  function search() {
    queued = false;
    if (!window.Plotly) return void setTimeout(soon, 100);
    for (const plot of document.querySelectorAll(".plot[data-figure]")) {
      // Gradio keeps the elements of a card whose HTML has changed, and empties this one.
      const drawn = plot.firstChild && read.get(plot)?.text === plot.dataset.figure;
      if (drawn && followed.has(plot)) continue;
      redraw(plot);
      if (!followed.has(plot)) sizes.observe(plot);
      followed.add(plot);
    }
  }

  function soon() {
    if (!queued) requestAnimationFrame(search);
    queued = true;
  }

  function repaint() {
    document.querySelectorAll(".plot[data-figure]").forEach((plot) => redraw(plot));
  }

  // ---- what can be saved ---------------------------------------------------------------------

  function named(data) {
    return data.filter(
      (trace) => trace.name && trace.showlegend !== false && trace.visible !== false,
    );
  }

  // An image stands alone: on its own ground, with a title and the names of its lines, and in
  // letters that can be read from the back row.
  function image(plot, format) {
    const { name, title, layout: asked } = shown.get(plot);
    const { layout, data } = plot;
    const plain = { ...layout, height: asked.height, margin: asked.margin };
    const several = asked.showlegend || named(data).length > 1;
    const { margin, ...rest } = several && !asked.legend
      ? coloured(plot, withNames(plain, data, SAVED.width))
      : plain;
    const height = rest.height + SAVED.above;
    const picture = {
      ...rest,
      width: SAVED.width,
      height,
      margin: { ...margin, t: (margin?.t ?? 20) + SAVED.above },
      paper_bgcolor: colour(plot, "card"),
      title: { text: title, x: 0.02, y: 1 - 22 / height, font: { color: colour(plot, "ink") } },
      showlegend: several,
    };
    const options = { format, filename: name, width: SAVED.width, height, scale: SAVED.scale };
    return window.Plotly.downloadImage({ data, layout: picture }, options);
  }

  function heading(layout, key, fallback) {
    return layout[key]?.title?.text || fallback;
  }

  function points(trace) {
    if (trace.z)
      return trace.z.flatMap((row, at) =>
        row.map((value, of) => [trace.y[at], trace.x[of], value]),
      );
    return (trace.x ?? []).map((x, at) => [trace.meta ?? trace.name ?? "", x, trace.y[at]]);
  }

  async function rows(plot) {
    const { name, table = whole.get(name) } = shown.get(plot);
    if (table) return typeof table === "function" ? table() : table;
    const told = plot.data.filter((trace) => trace.hoverinfo !== "skip");
    const axes = [heading(plot.layout, "xaxis", "x"), heading(plot.layout, "yaxis", "y")];
    const head = told.some((trace) => trace.z)
      ? ["row", "column", "value"]
      : ["series", ...axes];
    return [head, ...told.flatMap(points)];
  }

  function tableRows(tables) {
    const head = ["part", "row", "column", "value"];
    const cells = tables.flatMap((table) => {
      const part = table.closest(".map")?.querySelector("h3")?.textContent ?? "";
      const columns = [...table.tHead.rows[0].cells].map((cell) => cell.dataset.block);
      return [...table.tBodies[0].rows].flatMap((row) =>
        [...row.cells]
          .slice(1)
          .map((cell, at) => [part, row.cells[0].title, columns[at + 1], cell.dataset.value]),
      );
    });
    return [head, ...cells];
  }

  // A text that a spreadsheet would take for a formula begins with an apostrophe.
  function cell(value) {
    if (value === null || value === undefined) return "";
    if (typeof value === "number") return String(value);
    const text = /^[=+@\t\r]|^-(?![\d.])/.test(value) ? `'${value}` : String(value);
    return /[",\n\r]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text;
  }

  function saveText(name, lines) {
    const text = lines.map((line) => line.map(cell).join(",")).join("\r\n");
    const file = new Blob(["\ufeff", text, "\r\n"], { type: "text/csv;charset=utf-8" });
    const link = document.createElement("a");
    link.href = URL.createObjectURL(file);
    link.download = `${name}.csv`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }

  // Maps that are tables become a picture by way of a figure of the same numbers.
  function mapped(figure, tables) {
    const plot = Object.assign(document.createElement("div"), { className: "plot" });
    plot.style.cssText = "position:absolute;left:-9999px;width:1100px";
    figure.append(plot);
    const room = 1 / tables.length;
    const layout = { height: 120 + 24 * tables[0].tBodies[0].rows.length, annotations: [] };
    const top = Math.max(...tableRows(tables).slice(1).map((row) => Number(row[3])), 0.01);
    const data = tables.map((table, at) => {
      const lines = [...table.tBodies[0].rows];
      const from = at * room + (at ? 0.01 : 0);
      layout[`xaxis${at + 1}`] = { domain: [from, (at + 1) * room - 0.01], title: "block" };
      layout[`yaxis${at + 1}`] = {
        anchor: `x${at + 1}`,
        autorange: "reversed",
        automargin: true,
        tickvals: lines.map((_, line) => line),
        ticktext: lines.map((line) => line.cells[0].title),
        showticklabels: at === 0,
      };
      layout.annotations.push({
        text: table.closest(".map").querySelector("h3").textContent,
        x: from,
        y: 1,
        xref: "paper",
        yref: "paper",
        xanchor: "left",
        yanchor: "bottom",
        showarrow: false,
      });
      return {
        type: "heatmap",
        z: lines.map((line) => [...line.cells].slice(1).map((one) => Number(one.dataset.value))),
        x: [...table.tHead.rows[0].cells].slice(1).map((one) => Number(one.dataset.block)),
        y: lines.map((_, line) => line),
        zmin: 0,
        zmax: top,
        showscale: at === tables.length - 1,
        colorscale: [
          [0, "--soft"],
          [1, "--trace"],
        ],
        xaxis: `x${at + 1}`,
        yaxis: `y${at + 1}`,
      };
    });
    const { name, title } = figure.dataset;
    draw(plot, { data, layout, name, title, summary: title });
    return plot;
  }

  async function save(button) {
    const figure = button.closest(".figure");
    const plot = figure.querySelector(".plot");
    const tables = [...figure.querySelectorAll("table.heat")];
    const format = button.dataset.take;
    if (plot && !shown.has(plot)) return;
    if (format === "csv")
      return plot
        ? saveText(shown.get(plot).name, await rows(plot))
        : saveText(figure.dataset.name, tableRows(tables));
    if (plot) return image(plot, format);
    const stand = mapped(figure, tables);
    await image(stand, format);
    stand.remove();
  }

  async function saveOrTell(button) {
    const buttons = button.closest(".take");
    buttons.querySelector("[role=alert]")?.remove();
    try {
      await save(button);
    } catch (error) {
      const told = document.createElement("small");
      told.setAttribute("role", "alert");
      told.textContent = `not saved: ${error?.message ?? error}`;
      buttons.append(told);
    }
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest?.(".figure [data-take]");
    if (button) saveOrTell(button);
  });
  function followTheme() {
    for (const root of [document.documentElement, document.body])
      new MutationObserver(repaint).observe(root, {
        attributes: true,
        attributeFilter: ["class"],
      });
  }

  if (document.body) followTheme();
  else document.addEventListener("DOMContentLoaded", followTheme);
  new MutationObserver(soon).observe(document.documentElement, {
    childList: true,
    subtree: true,
  });
  soon();
  return { colour, draw, figure, redraw, whole };
})();
