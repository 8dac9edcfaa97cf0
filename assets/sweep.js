// The card of a sweep: asks how it stands, draws its chart as it fills in, and hands on what its
// buttons wish. Runs as the body of a function of (element, trigger, props, server, watch).

const part = (name) => element.querySelector(`[data-part="${name}"]`);
const KEY = "unlearnlab-sweep";
const LIVE_MS = 1000;
const IDLE_MS = 3000;
const PATIENCE_MS = 15000;

let chosen = localStorage.getItem(KEY) || "";
let score = "task_aggregate";
let turn = "";
let figure = null;
let last = null;
let unfolded = null; // As the reader left it.
let followed = "";
let failures = 0;
let timer = null;
let asking = false;

function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

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

function button(action, count, text) {
  const node = element.querySelector(`.sweep-tools [data-act="${action}"]`);
  node.hidden = !count;
  write(node, text);
}

function runs(count) {
  return count === 1 ? "1 run" : `${count} runs`;
}

function options(select, wanted) {
  const signature = JSON.stringify(wanted);
  if (select.dataset.of === signature) return;
  select.dataset.of = signature;
  const held = select.value;
  select.replaceChildren(
    ...wanted.map(([value, text]) =>
      Object.assign(document.createElement("option"), { value, textContent: text }),
    ),
  );
  if (wanted.some(([value]) => value === held)) select.value = held;
}

function segments(scores) {
  const box = part("scores");
  box.hidden = scores.length === 0;
  if (box.dataset.of !== JSON.stringify(scores)) {
    box.dataset.of = JSON.stringify(scores);
    box.replaceChildren(
      ...scores.map(([name, title]) => {
        const node = Object.assign(document.createElement("button"), {
          type: "button",
          textContent: title,
        });
        node.dataset.score = name;
        return node;
      }),
    );
  }
  for (const node of box.children)
    node.setAttribute("aria-pressed", String(node.dataset.score === score));
}

function hint() {
  const axis = last?.axes?.[Number(part("axis").value)];
  part("text").placeholder = axis ? axis.hint : "";
}

function steer(answer) {
  button("go_on", answer.open, `Go on with ${runs(answer.open)}`);
  button("retry", answer.failed, `Run ${answer.failed} failed again`);
  button("cancel", answer.waiting, `Cancel ${runs(answer.waiting)} that wait`);
  part("following").hidden = !answer.going;
  segments(answer.scores);
  part("add").hidden = answer.axes.length === 0;
  options(
    part("axis"),
    answer.axes.map((axis, at) => [String(at), axis.name]),
  );
  hint();
}

function take(answer) {
  last = answer;
  part("card").hidden = answer.sweeps.length === 0;
  if (!answer.sweeps.length) return;
  chosen = answer.sweep;
  write(part("title"), `Sweep: ${answer.title}`);
  options(
    part("choose"),
    answer.sweeps.map((one) => [one.id, one.title]),
  );
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
  const bars = element.querySelector(".bars");
  bars.querySelector("u").style.width = `${100 * answer.share}%`;
  bars.setAttribute("aria-valuenow", String(Math.round(100 * answer.share)));
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

async function ask() {
  const of = `${chosen} ${score}`;
  const answer = await server.poll_sweep({ sweep: chosen, score, turn });
  if (of !== `${chosen} ${score}`) return void soon();
  if (!answer || answer.problem) throw new Error(answer?.problem ?? "no answer");
  take(answer);
}

async function round() {
  clearTimeout(timer);
  if (asking) return;
  asking = true;
  try {
    // A hidden card takes no room: what it stands in tells whether it would be seen.
    const seen = document.visibilityState === "visible" && element.parentElement.offsetParent;
    if (seen) await ask();
    failures = 0;
    part("lost").hidden = true;
  } catch (error) {
    failures += 1;
    write(part("lost"), `${error.message}. Retrying; the sweep goes on without this page.`);
    part("lost").hidden = false;
  } finally {
    asking = false;
  }
  const pace = last?.going ? LIVE_MS : IDLE_MS;
  timer = setTimeout(round, failures ? Math.min(PATIENCE_MS, pace * 2 ** failures) : pace);
}

function soon() {
  clearTimeout(timer);
  timer = setTimeout(round, 0);
}

function choose(sweep) {
  chosen = sweep;
  localStorage.setItem(KEY, sweep);
  turn = "";
  unfolded = true;
  write(part("said"), "");
  soon();
}

async function press(wish) {
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
  if (act) press({ action: act, run: run ?? "" });
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
  if (await press({ action: "add", axis: axis.axis, text })) part("text").value = "";
});

for (const root of [document.documentElement, document.body])
  new MutationObserver(draw).observe(root, { attributes: true, attributeFilter: ["class"] });
new ResizeObserver(draw).observe(element);
document.addEventListener("visibilitychange", soon);
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
soon();
