// The card of a sweep: asks for its status, draws its chart as it fills in, and sends what its
// buttons ask for. Runs as the body of a function of (element, trigger, props, server, watch).

const KEY = "unlearnlab-sweep";
const LIVE_MS = 1000;
const IDLE_MS = 3000;

let chosen = localStorage.getItem(KEY) || "";
let score = "task_aggregate";
let turn = "";
let last = null;
let unfolded = null; // As the reader left it.
let followed = "";

function fold(open) {
  show("body", open);
  part("fold").setAttribute("aria-expanded", String(open));
}

function segments() {
  const box = part("scores");
  box.hidden = last.scores.length === 0;
  refill(box, last.scores, () =>
    last.scores.map(([name, title]) => button("", title, { score: name })),
  );
  press(box.children, (one) => one.dataset.score === score);
}

function hint() {
  part("text").placeholder = last?.axes?.[Number(part("axis").value)]?.hint ?? "";
}

function steer(answer) {
  for (const [act, text] of Object.entries(answer.tools)) {
    const node = element.querySelector(`.sweep-tools [data-act="${act}"]`);
    node.hidden = !text;
    write(node, text);
  }
  show("following", answer.going);
  segments();
  show("add", answer.axes.length > 0);
  offer(part("axis"), answer.axes.map((axis, at) => [String(at), axis.name]));
  hint();
}

function take(answer) {
  last = answer;
  show("card", answer.sweeps.length > 0);
  if (!answer.sweeps.length) return;
  chosen = answer.sweep;
  write(part("title"), `Sweep: ${answer.title}`);
  offer(part("choose"), answer.sweeps.map((one) => [one.id, one.title]));
  show("choose", answer.sweeps.length > 1);
  part("choose").value = answer.sweep;
  turn = answer.turn;
  if (answer.gone) {
    write(part("status"), answer.gone);
    fold(false);
    return;
  }
  write(part("pill"), answer.pill);
  part("pill").dataset.status = answer.pill;
  write(part("status"), answer.status);
  progress(element, [answer.share], answer.share);
  // What opened by itself stays open when the sweep ends: somebody watches.
  if (unfolded === null && (answer.going || answer.open > 0)) unfolded = true;
  fold(Boolean(unfolded));
  steer(answer);
  if (answer.figure) {
    part("plot").dataset.figure = JSON.stringify(answer.figure);
    window.Charts?.redraw(part("plot"));
    redraw(part("runs"), answer.runs);
  }
  follow(answer.live);
}

function follow(run) {
  if (!run || run === followed) return;
  followed = run;
  if (!part("follow").checked) return;
  document.body.dataset.following = run; // The live panel comes without being scrolled to.
  trigger("open", { run });
}

function choose(sweep) {
  chosen = sweep;
  localStorage.setItem(KEY, sweep);
  turn = "";
  unfolded = true;
  write(part("said"), "");
  soon();
}

async function carryOut(wanted) {
  write(part("said"), "");
  const call = server.press_sweep({ sweep: chosen, ...wanted });
  const answer = await call.catch((error) => ({ problem: problemOf(error) }));
  part("said").classList.toggle("bad", Boolean(answer.problem));
  write(part("said"), answer.problem ?? answer.note);
  soon();
  return !answer.problem;
}

element.addEventListener("click", (event) => {
  const pressed = event.target.closest("button");
  if (!pressed) return;
  const { act, run, open, score: wanted } = pressed.dataset;
  if (act) carryOut({ action: act, run: run ?? "" });
  if (open) {
    part("follow").checked = false;
    trigger("open", { run: open });
  }
  if (wanted) {
    score = wanted;
    segments();
    soon();
  }
  if (pressed === part("fold")) {
    unfolded = part("body").hidden;
    fold(unfolded);
  }
});

part("choose").addEventListener("change", () => choose(part("choose").value));
part("axis").addEventListener("change", hint);
element.querySelector(".sweep-add form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const { axis } = last.axes[Number(part("axis").value)];
  if (await carryOut({ action: "add", axis, text: part("text").value })) part("text").value = "";
});

const soon = poll({
  request: () => server.poll_sweep({ sweep: chosen, score, turn }),
  take,
  pace: () => (last?.going ? LIVE_MS : IDLE_MS),
  // A hidden card has no size: whether its parent is shown decides.
  seen: () => element.parentElement?.offsetParent,
  needs: ["sweeps"],
  lost: "The sweep goes on without this page.",
});
let given = "";
watch("value", () => {
  const { sweep, follow: following, at } = props.value ?? {};
  if (!sweep || given === `${sweep} ${at}`) return;
  given = `${sweep} ${at}`;
  followed = "";
  part("follow").checked = Boolean(following);
  choose(sweep);
  element.scrollIntoView({ behavior: "smooth", block: "start" });
});
