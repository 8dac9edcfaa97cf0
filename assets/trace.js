// How a trace stands: asks once a second, fills the status line, and tells when the rest must be
// drawn anew. Runs as the body of a function of (element, trigger, props, server, watch).
// All text goes through textContent: it may be a model's or a user's.

const part = (name) => element.querySelector(`[data-part="${name}"]`);
const LIVE_MS = 600;
const IDLE_MS = 2500;
const PATIENCE_MS = 5000;

let timer = null;
let asking = false;
let failures = 0;
let live = false;
let told = { word: "", at: 0 };

function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

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
  part("advice").hidden = !status.advice;
  const bars = card.querySelector(".bars");
  const done = Math.round(100 * status.share);
  bars.querySelector("u").style.width = `${done}%`;
  bars.setAttribute("aria-valuenow", String(done));
  bars.setAttribute("aria-label", status.headline);
}

function take(answer) {
  live = Boolean(answer.live);
  const chip = document.getElementById("chip-queue");
  if (chip && answer.queue) {
    write(chip, answer.queue);
    chip.hidden = false;
  }
  if (answer.status) fill(answer.status);
  else part("status").hidden = true;
  const now = Date.now();
  if (answer.turn === props.value.turn) return;
  if (told.word === answer.turn && now - told.at < 5000) return;
  told = { word: answer.turn, at: now };
  trigger("turned", {});
}

async function ask() {
  const { trace = "", masked = false } = props.value || {};
  const answer = await server.poll_trace({ trace, masked });
  const now = props.value || {};
  if (trace !== (now.trace ?? "") || masked !== (now.masked ?? false)) return;
  if (!answer || (answer.problem === undefined && answer.turn === undefined))
    throw new Error("no answer");
  if (answer.problem) throw new Error(answer.problem, { cause: "store" });
  take(answer);
}

async function round() {
  clearTimeout(timer);
  if (asking) return;
  asking = true;
  try {
    const visible = document.visibilityState === "visible" && element.offsetParent !== null;
    if (visible && props.value?.turn) await ask();
    failures = 0;
    part("lost").hidden = true;
  } catch (error) {
    failures += 1;
    write(
      part("lost"),
      error.cause === "store"
        ? `${error.message}. Retrying.`
        : "Connection lost, retrying. A trace goes on without this page.",
    );
    part("lost").hidden = false;
  } finally {
    asking = false;
  }
  const pace = live ? LIVE_MS : IDLE_MS;
  timer = setTimeout(round, failures ? Math.min(PATIENCE_MS, pace * 2 ** failures) : pace);
}

function soon() {
  clearTimeout(timer);
  timer = setTimeout(round, 0);
}

document.addEventListener("visibilitychange", soon);
watch("value", () => {
  if (props.value?.status) fill(props.value.status);
  soon();
});
soon();
