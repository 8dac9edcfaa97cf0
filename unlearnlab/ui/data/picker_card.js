// The rows to pick: the server draws a page of them, the ticks are kept here.
// Runs as the body of a function of (element, trigger, props, watch).
const table = element.querySelector(".picker-rows");
const count = element.querySelector(".picker-count");
let drawn = null;
let kept = props.value ?? {}; // What is shown.

const ticked = (id) => props.value.ids.includes(id) !== props.value.inverted;
const number = (value) => String(value).replace(/\B(?=(\d{3})+$)/g, "\u202f");

function paint() {
  const value = props.value;
  if (!value || value.html === undefined) return;
  if (drawn !== value.html) table.innerHTML = drawn = value.html;
  for (const box of table.querySelectorAll("input[data-id]")) {
    box.checked = ticked(box.dataset.id);
    box.closest("tr").classList.toggle("picked", box.checked);
  }
  const chosen = value.inverted ? value.total - value.ids.length : value.ids.length;
  const found = value.found === value.total ? "" : `, ${number(value.found)} found`;
  count.textContent = value.total
    ? `${number(chosen)} of ${number(value.total)} ticked${found}`
    : "";
}

table.addEventListener("change", (event) => {
  const id = event.target.dataset.id;
  if (id === undefined) return;
  const { ids, inverted } = props.value;
  const named = event.target.checked !== inverted;
  const others = ids.filter((one) => one !== id);
  props.value = { ...props.value, ids: named ? [...others, id] : others };
  kept = props.value;
  paint();
});

table.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-page]");
  if (!button || button.disabled) return;
  props.value = { ...props.value, page: Number(button.dataset.page) };
  kept = props.value;
  trigger("turn_page", {});
});

// Answers can overtake each other, and the reader may tick rows while one is on its way.
watch("value", () => {
  const came = props.value ?? {};
  if ((came.asked ?? 0) < (kept.asked ?? 0)) {
    props.value = kept;
    trigger("turn_page", {});
    return;
  }
  const mine = !came.ticked && came.of === kept.of;
  kept = mine ? { ...came, ids: kept.ids, inverted: kept.inverted } : came;
  if (mine) props.value = kept;
  paint();
});
paint();
