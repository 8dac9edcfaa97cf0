// The rows to pick and what the model says to them: the server draws a page of them, the ticks are
// kept here. Runs as the body of a function of (element, trigger, props, server, watch).
const table = element.querySelector(".picker-rows");
const count = element.querySelector(".picker-count");
const line = element.querySelector(".watch");
const stop = element.querySelector(".watching button");
const PACE_MS = 700;
let drawn = null;
let kept = props.value ?? {}; // What is shown.
let asking = ""; // The preview that the line tells of.

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

function tell(text, bad) {
  line.textContent = text;
  line.hidden = !text;
  line.classList.toggle("bad", Boolean(bad));
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

const soon = poll({
  request: () => server.poll_preview({ preview: props.value.preview }),
  take(answer) {
    stop.hidden = !answer.live;
    tell(stop.disabled && answer.live ? "Stopping" : answer.told, answer.failed);
    // Until the redraw comes, which ends the asking: one that got lost is asked for again.
    if (!answer.live) trigger("turn_page", {});
  },
  pace: () => PACE_MS,
  seen: () => props.value?.preview && element.offsetParent,
  needs: ["live"],
  told: (text) => text && tell(text, true),
});

stop.addEventListener("click", async () => {
  stop.disabled = true;
  try {
    answered(await server.stop_preview({ preview: props.value?.preview }));
    tell("Stopping");
  } catch (error) {
    stop.disabled = false;
    tell(problemOf(error), true);
  }
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
  if ((kept.preview ?? "") === asking) return;
  asking = kept.preview ?? "";
  stop.disabled = false;
  stop.hidden = true;
  if (asking) tell("");
  soon();
});
paint();
