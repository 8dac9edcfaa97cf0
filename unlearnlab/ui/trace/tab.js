// Status of a trace: polls it, fills the status line, and tells when the rest must be drawn anew.
// Runs as the body of a function of (element, trigger, props, server, watch).
const LIVE_MS = 600;
const IDLE_MS = 2500;
const untold = once();
let live = false;

function fill(status) {
  const card = part("status");
  card.hidden = false;
  card.dataset.status = status.status;
  write(card.querySelector("h2"), status.title);
  write(card.querySelector(".pill"), status.status);
  write(part("headline"), status.headline);
  write(part("detail"), status.detail);
  write(part("facts"), status.facts);
  write(part("advice"), status.advice && `What to try: ${status.advice}`);
  show("advice", Boolean(status.advice));
  progress(card, [status.share], status.share, status.headline);
}

function take(answer) {
  live = Boolean(answer.live);
  chip("chip-queue", answer.queue);
  if (answer.status) fill(answer.status);
  else show("status", false);
  if (answer.change_token !== props.value.change_token && untold(answer.change_token)) trigger("turned", {});
}

const soon = poll({
  request: () => server.poll_trace({ trace: props.value.trace ?? "", masked: Boolean(props.value.masked) }),
  take,
  pace: () => (live ? LIVE_MS : IDLE_MS),
  seen: () => element.offsetParent !== null && props.value?.change_token,
  needs: ["change_token"],
  lost: "The trace continues without this page.",
});
watch("value", () => {
  if (props.value?.status) fill(props.value.status);
  soon();
});
