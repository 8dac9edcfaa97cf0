// Watches a question that waits for the device: asks once a second while there is one.
// Runs as the body of a function of (element, trigger, props, server, watch).
const line = element.querySelector("p");
const stop = element.querySelector("button");
const PACE_MS = 700;
let timer = null;
let asking = false;

function tell(text, bad) {
  line.textContent = text;
  line.hidden = !text;
  line.classList.toggle("bad", Boolean(bad));
}

async function ask(preview) {
  const answer = await server.poll_preview({ preview });
  if (preview !== props.value?.preview) return;
  if (!answer || answer.problem) throw new Error(answer?.problem || "no answer");
  stop.hidden = !answer.live;
  tell(stop.disabled && answer.live ? "Stopping" : answer.told, answer.failed);
  // Until the redraw comes, which empties the value: one that got lost is asked for again.
  if (!answer.live) trigger("turned", {});
}

async function round() {
  clearTimeout(timer);
  const preview = props.value?.preview;
  if (!preview || asking) return;
  asking = true;
  try {
    // Hidden itself while it has nothing to tell: its card says whether the tab is open.
    const shown = document.getElementById("picker-card")?.offsetParent;
    if (document.visibilityState === "visible" && shown) await ask(preview);
  } catch (error) {
    tell(`${error.message}. Retrying.`, true);
  } finally {
    asking = false;
    timer = setTimeout(round, PACE_MS);
  }
}

stop.addEventListener("click", async () => {
  stop.disabled = true;
  try {
    const answer = await server.stop_preview({ preview: props.value?.preview });
    if (!answer || answer.problem) throw new Error(answer?.problem || "no answer");
    tell("Stopping");
  } catch (error) {
    stop.disabled = false;
    tell(error.message, true);
  }
});

watch("value", () => {
  stop.disabled = false;
  stop.hidden = true;
  if (props.value?.preview) tell("");
  round();
});
round();
