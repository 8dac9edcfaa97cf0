// The scrubber of a report: shows what was said at one probe and marks its step in the curves.
(() => {
  const section = document.getElementById("says");
  const bar = section.querySelector(".scrubber");
  const slider = bar.querySelector("input");
  const steps = JSON.parse(section.dataset.steps);
  const KEYS = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 4, PageDown: -4 };
  let at = steps.length - 1;

  function show(place) {
    at = Math.min(Math.max(0, place), steps.length - 1);
    const step = steps[at];
    for (const cell of section.querySelectorAll("[data-step]"))
      cell.hidden = Number(cell.dataset.step) !== step;
    const head = step === 0 ? "Before training" : `At step ${step}`;
    section.querySelector(".now-head").textContent = head;
    bar.querySelector("b").textContent = `step ${step}`;
    slider.value = step;
    slider.setAttribute("aria-valuetext", `step ${step}, ${at + 1} of ${steps.length} probes`);
    for (const line of document.querySelectorAll("line.now")) {
      const { first, last, steps: whole } = line.dataset;
      const x = Number(first) + ((Number(last) - Number(first)) * step) / Number(whole);
      line.setAttribute("x1", x);
      line.setAttribute("x2", x);
      line.setAttribute("visibility", "visible");
    }
  }

  function nearest(step) {
    const away = steps.map((one) => Math.abs(one - step));
    return away.indexOf(Math.min(...away));
  }

  slider.addEventListener("input", () => show(nearest(Number(slider.value))));
  slider.addEventListener("keydown", (event) => {
    const by = { Home: -steps.length, End: steps.length, ...KEYS }[event.key];
    if (!by || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    show(at + by);
  });
  for (const line of document.querySelectorAll("line.now")) {
    const svg = line.ownerSVGElement;
    const { first, last, steps: whole } = line.dataset;
    const take = (event) => {
      const box = svg.getBoundingClientRect();
      const x = ((event.clientX - box.left) / box.width) * svg.viewBox.baseVal.width;
      show(nearest(((x - first) / (last - first)) * whole));
    };
    svg.addEventListener("pointerdown", take);
    svg.addEventListener("pointermove", (event) => event.buttons === 1 && take(event));
  }
  bar.hidden = false;
  show(at);
})();
