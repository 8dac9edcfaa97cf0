// The two-thumb range of blocks. Runs as the body of a function of (element, trigger, props,
// watch).
const [first, last] = element.querySelectorAll("input");
const output = element.querySelector("output");
const bar = element.querySelector(".rail b");
const ticks = element.querySelector(".rail-ticks");

function words(low, high) {
  return low === high ? `Block ${low}` : `Blocks ${low} to ${high}`;
}

function paint() {
  const end = Number(first.max) || 1;
  const low = Number(first.value);
  const high = Number(last.value);
  output.textContent = words(low, high);
  bar.style.left = `${(100 * low) / end}%`;
  bar.style.right = `${100 - (100 * high) / end}%`;
  for (const thumb of [first, last])
    thumb.setAttribute("aria-valuetext", `block ${thumb.value}`);
  // Where both thumbs meet at the right end, the lower one must be on top or neither can be moved.
  first.style.zIndex = low === high && low > end / 2 ? 3 : 1;
  [...ticks.children].forEach((tick, at) =>
    tick.classList.toggle("in", at >= low && at <= high),
  );
}

function load() {
  const value = props.value;
  if (!value) return;
  const known = value.blocks > 0;
  for (const one of [bar.parentElement, ticks]) one.hidden = !known;
  if (!known) {
    const end = value.last ?? "the last";
    output.textContent = value.first || value.last !== null ? words(value.first, end) : "All blocks";
    return;
  }
  for (const thumb of [first, last]) thumb.max = value.blocks - 1;
  if (ticks.childElementCount !== value.blocks) {
    ticks.replaceChildren(
      ...Array.from({ length: value.blocks }, (_, block) =>
        made("span", "", value.blocks <= 16 || block % 4 === 0 ? String(block) : ""),
      ),
    );
  }
  first.value = value.first;
  last.value = value.last;
  paint();
}

first.addEventListener("input", () => {
  if (Number(first.value) > Number(last.value)) first.value = last.value;
  paint();
});
last.addEventListener("input", () => {
  if (Number(last.value) < Number(first.value)) last.value = first.value;
  paint();
});
for (const thumb of [first, last]) {
  thumb.addEventListener("change", () => {
    props.value = { ...props.value, first: Number(first.value), last: Number(last.value) };
    trigger("input");
  });
}
watch("value", load);
load();
