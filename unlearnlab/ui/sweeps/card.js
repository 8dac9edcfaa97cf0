// The card of a sweep: asks how it stands, draws its chart as it fills in, and hands on what its
// buttons wish. Runs as the body of a function of (element, trigger, props, server, watch).

const KEY = "unlearnlab-sweep";
const LIVE_MS = 1000;
const IDLE_MS = 3000;

let chosen = localStorage.getItem(KEY) || "";
let score = "task_aggregate";
let turn = "";
let figure = null;
let last = null;
let unfolded = null; // As the reader left it.
let followed = "";

// ---- drawing ---------------------------------------------------------------------------------

function draw() {
  const plot = element.querySelector(".plot");
  if (!figure || !window.Charts || plot.offsetParent === null) return;
  const narrow = plot.clientWidth < 560 ? figure.narrow : {};
  const layout = { ...figure.layout, ...narrow };
  plot.style.minHeight = `${layout.height}px`;
  window.Charts.draw(plot, { ...figure, layout });
}

function fold(open) {
  part("body").hidden = !open;
  part("fold").setAttribute("aria-expanded", String(open));
}

function action(name, count, text) {
  const node = element.querySelector(`.sweep-tools [data-act="${name}"]`);
  node.hidden = !count;
  write(node, text);
}

function runs(count) {
  return count === 1 ? "1 run" : `${count} runs`;
}

function segments(scores) {
  const box = part("scores");
  box.hidden = scores.length === 0;
  refill(box, scores, () => scores.map(([name, title]) => button("", title, { score: name })));
  press(box.children, (one) => one.dataset.score === score);
}

function hint() {
  const axis = last?.axes?.[Number(part("axis").value)];
  part("text").placeholder = axis ? axis.hint : "";
}

function steer(answer) {
  action("go_on", answer.open, `Go on with ${runs(answer.open)}`);
  action("retry", answer.failed, `Run ${answer.failed} failed again`);
  action("cancel", answer.waiting, `Cancel ${runs(answer.waiting)} that wait`);
  part("following").hidden = !answer.going;
  segments(answer.scores);
  part("add").hidden = answer.axes.length === 0;
  offer(part("axis"), answer.axes.map((axis, at) => [String(at), axis.name]));
  hint();
}

function take(answer) {
  last = answer;
  part("card").hidden = answer.sweeps.length === 0;
  if (!answer.sweeps.length) return;
  chosen = answer.sweep;
  write(part("title"), `Sweep: ${answer.title}`);
  offer(part("choose"), answer.sweeps.map((one) => [one.id, one.title]));
  part("choose").hidden = answer.sweeps.length < 2;
  part("choose").value = answer.sweep;
  if (answer.gone) {
    write(part("status"), answer.gone);
    fold(false);
    turn = answer.turn;
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
    figure = answer.figure;
    turn = answer.turn;
    keepFocus(() => (part("runs").innerHTML = answer.runs));
    draw();
  }
  follow(answer.live);
}

// The list is drawn anew when a run ends: the keyboard must not lose its place.
function keepFocus(change) {
  const { act, run, open } = document.activeElement?.dataset ?? {};
  change();
  const wanted = open
    ? `[data-open="${CSS.escape(open)}"]`
    : run && `[data-act="${CSS.escape(act)}"][data-run="${CSS.escape(run)}"]`;
  if (wanted) part("runs").querySelector(wanted)?.focus();
}

function follow(run) {
  if (!run || run === followed) return;
  followed = run;
  if (!part("follow").checked) return;
  document.body.dataset.following = run; // The live panel comes without being scrolled to.
  trigger("open", { run });
}

// ---- asking ----------------------------------------------------------------------------------

function choose(sweep) {
  chosen = sweep;
  localStorage.setItem(KEY, sweep);
  turn = "";
  unfolded = true;
  write(part("said"), "");
  soon();
}

async function carryOut(wish) {
  write(part("said"), "");
  const answer = await server.press_sweep({ sweep: chosen, ...wish });
  part("said").classList.toggle("bad", Boolean(answer?.problem));
  write(part("said"), answer?.problem ?? answer?.note ?? "No answer: try again.");
  soon();
  return !answer?.problem;
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
    segments(last.scores);
    soon();
  }
  if (pressed === part("fold")) {
    unfolded = part("body").hidden;
    fold(unfolded);
    draw();
  }
});

part("choose").addEventListener("change", () => choose(part("choose").value));
part("axis").addEventListener("change", hint);
element.querySelector(".sweep-add form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const axis = last.axes[Number(part("axis").value)];
  const text = part("text").value;
  if (await carryOut({ action: "add", axis: axis.axis, text })) part("text").value = "";
});

keepDrawn(draw);
const soon = poll({
  request: () => server.poll_sweep({ sweep: chosen, score, turn }),
  take,
  pace: () => (last?.going ? LIVE_MS : IDLE_MS),
  // A hidden card takes no room: what it stands in tells whether it would be seen.
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
