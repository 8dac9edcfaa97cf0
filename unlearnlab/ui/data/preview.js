// Watches a question that waits for the device. Runs as the body of a function of
// (element, trigger, props, server, watch).
const line = element.querySelector("p");
const stop = element.querySelector("button");
const PACE_MS = 700;

function tell(text, bad) {
  line.textContent = text;
  line.hidden = !text;
  line.classList.toggle("bad", Boolean(bad));
}

const soon = poll({
  request: () => server.poll_preview({ preview: props.value.preview }),
  take(answer) {
    stop.hidden = !answer.live;
    tell(stop.disabled && answer.live ? "Stopping" : answer.told, answer.failed);
    // Until the redraw comes, which empties the value: one that got lost is asked for again.
    if (!answer.live) trigger("turned", {});
  },
  pace: () => PACE_MS,
  // Hidden itself while it has nothing to tell: its card says whether the tab is open.
  seen: () => props.value?.preview && document.getElementById("picker-card")?.offsetParent,
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

watch("value", () => {
  stop.disabled = false;
  stop.hidden = true;
  if (props.value?.preview) tell("");
  soon();
});
