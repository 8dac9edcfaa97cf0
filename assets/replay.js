// The bar of a replay. Runs after live.js, in the same body: it shares its names.
const bar = part("replay");

function fillReplay(replay) {
  const going = replay.take > 0;
  show("badge", going);
  write(part("badge"), replay.held ? "Replay paused" : "Replay");
  bar.hidden = !replay.offered;
  bar.classList.toggle("going", going);
  write(part("replay-said"), going ? replay.said : "this run as it went");
  write(part("replay-hold"), replay.held ? "Resume" : "Pause");
  show("replay-hold", going);
  show("replay-end", going);
  for (const button of bar.querySelectorAll(".segments button")) {
    const chosen = going && button.textContent === replay.pace;
    button.setAttribute("aria-pressed", String(chosen));
  }
}

async function askReplay(action, pace = {}) {
  let problem;
  try {
    ({ problem } = await server.replay_run({ run, action, ...pace }));
  } catch {
    problem = "The server did not answer: it may have ended.";
  }
  write(part("replay-problem"), problem);
  show("replay-problem", Boolean(problem));
  soon();
}

bar.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  const going = last?.replay?.take > 0;
  if (!button) return;
  if (button === part("replay-hold")) askReplay(last?.replay?.held ? "resume" : "hold");
  else if (button === part("replay-end")) askReplay("end");
  else askReplay(going ? "pace" : "start", { ...button.dataset });
});
